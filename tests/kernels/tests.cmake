# test_kernels.cpp includes check_<operator>.hpp of every kernel by its bare name, so that the list of another program
# (examples/write_a_kernel) finds its own.
target_include_directories(test_kernels_kernels PRIVATE ${CMAKE_CURRENT_LIST_DIR})
