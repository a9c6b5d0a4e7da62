// The one place that states the version; CMake reads it from here.
#pragma once
#define MICROTOME_VERSION_MAJOR 0
#define MICROTOME_VERSION_MINOR 1
#define MICROTOME_VERSION_PATCH 0
#define MICROTOME_VERSION "0.1.0"
