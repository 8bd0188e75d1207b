# install.cmake: `cmake --install build --prefix DIR`: the tool with the bundled model, the library with its header.
include(GNUInstallDirs)
file(STRINGS include/doppler.h version REGEX "define DP_VERSION_STRING")
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" DOPPLER_VERSION "${version}")
if(CMAKE_DL_LIBS)
  set(DOPPLER_DL -l${CMAKE_DL_LIBS})
endif()
install(TARGETS doppler_tool doppler)
install(FILES include/doppler.h TYPE INCLUDE)
install(DIRECTORY models/storyteller DESTINATION share/doppler/models)
# The prefix is known only now.
install(CODE "
  set(CMAKE_INSTALL_LIBDIR ${CMAKE_INSTALL_LIBDIR})
  set(CMAKE_INSTALL_INCLUDEDIR ${CMAKE_INSTALL_INCLUDEDIR})
  set(DOPPLER_VERSION ${DOPPLER_VERSION})
  set(DOPPLER_DL ${DOPPLER_DL})
  get_filename_component(CMAKE_INSTALL_PREFIX \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
  configure_file(${CMAKE_SOURCE_DIR}/cmake/doppler.pc.in \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig/doppler.pc\" @ONLY)
")
