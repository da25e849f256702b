# Fails when one of OBJECTS defines a weak symbol. Instrumented builds may name the compiler's own.
foreach(object ${OBJECTS})
  execute_process(COMMAND "${NM}" -C --defined-only "${object}" OUTPUT_VARIABLE symbols
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" weak "${symbols}")
  list(FILTER weak EXCLUDE REGEX "DW\\.ref\\.|typeinfo")
  if(weak)
    message(FATAL_ERROR "${object}: weak symbols: ${weak}")
  endif()
endforeach()
