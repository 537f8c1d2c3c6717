{
  "targets": [
    {
      "target_name": "lode",
      "sources": ["lode.cc"],
      "include_dirs": ["<!@(node -p \"require('node-addon-api').include\")"],
      "defines": ["NAPI_VERSION=8", "NAPI_DISABLE_CPP_EXCEPTIONS"],
      "cflags_cc": ["-std=c++17", "-Wall", "-Wextra", "-fno-exceptions"],
      "ldflags": ["-Wl,-z,nodelete"]
    }
  ]
}
