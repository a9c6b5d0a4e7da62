# The Python side of model files; skipped where PyTorch, or for ONNX the onnx module, is not installed.
foreach(name gandlf_net export onnx onnx_files onnx_refusals onnx_torch train)
  add_test(NAME export.${name} COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/test_${name}.py)
  set_tests_properties(export.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 300)
endforeach()
