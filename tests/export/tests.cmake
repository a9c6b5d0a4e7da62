# The Python side of model files; skipped where PyTorch is not installed.
foreach(name gandlf_net export train)
  add_test(NAME export.${name} COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/test_${name}.py)
  set_tests_properties(export.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
