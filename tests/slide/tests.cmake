# Pixels of the whole program against other readers, on external data.
if(TARGET microtome_program)
  foreach(reference manifest openslide)
    add_test(NAME slide.pixels_${reference} COMMAND Python3::Interpreter
      ${CMAKE_CURRENT_LIST_DIR}/compare_pixels.py $<TARGET_FILE:microtome_program> ${reference})
    set_tests_properties(slide.pixels_${reference} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
  endforeach()
endif()

target_sources(test_slide_region PRIVATE ${PROJECT_SOURCE_DIR}/tools/verbs/region.cpp)
target_include_directories(test_slide_region PRIVATE ${PROJECT_SOURCE_DIR}/tools)
