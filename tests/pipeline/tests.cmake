# stain_run: one image through stain normalisation, for the comparison with other implementations.
add_executable(stain_run pipeline/stain_run.cpp)
target_link_libraries(stain_run PRIVATE microtome::slide microtome_warnings)

foreach(reference torchstain histomicstk)
  add_test(NAME pipeline.stain_${reference} COMMAND Python3::Interpreter
    ${CMAKE_CURRENT_LIST_DIR}/compare_stain.py $<TARGET_FILE:stain_run> ${reference})
  set_tests_properties(pipeline.stain_${reference} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
