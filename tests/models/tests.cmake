# model_run: one model on one input, for the comparisons with PyTorch.
add_executable(model_run models/model_run.cpp)
target_link_libraries(model_run PRIVATE microtome::dispatch microtome_warnings)

add_test(NAME models.compare_torch
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/compare_torch.py $<TARGET_FILE:model_run>)
set_tests_properties(models.compare_torch PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
add_test(NAME models.compare_peers
         COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/compare_peers.py $<TARGET_FILE:model_run>)
set_tests_properties(models.compare_peers PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
if(TARGET microtome_program)
  add_test(NAME models.compare_int8
           COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/compare_int8.py $<TARGET_FILE:model_run>
                   $<TARGET_FILE:microtome_program>)
  set_tests_properties(models.compare_int8 PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()
