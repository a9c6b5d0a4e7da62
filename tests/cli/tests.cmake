# The program as a user meets it. Every test_<verb>.py here takes the program's path; exit code 77 skips.
if(TARGET microtome_program)
  file(GLOB cli_tests CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_LIST_DIR} ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
  foreach(script ${cli_tests})
    string(REGEX REPLACE "test_(.*)\\.py" "\\1" name ${script})
    add_test(NAME cli.${name} COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/${script}
      $<TARGET_FILE:microtome_program>)
    set_tests_properties(cli.${name} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
  endforeach()
  add_test(NAME cli.huge_slide COMMAND Python3::Interpreter ${CMAKE_CURRENT_LIST_DIR}/huge_slide.py
    $<TARGET_FILE:microtome_program>)
  set_tests_properties(cli.huge_slide PROPERTIES LABELS full TIMEOUT 3600)
endif()
