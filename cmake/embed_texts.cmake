# cmake -DOUT=file.cpp -DNAMESPACE=a::b -DFILES="x.cu;y.cuh" -P embed_texts.cmake: a C++ source with a constant
# `const char* const <name without extension>` for each file.
set(text "// Made from ${FILES}.\nnamespace ${NAMESPACE} {\n")
foreach(file IN LISTS FILES)
  file(READ ${file} content)
  get_filename_component(name ${file} NAME_WE)
  string(APPEND text "extern const char* const ${name};\nconst char* const ${name} = R\"TEXT(${content})TEXT\";\n")
endforeach()
string(APPEND text "}\n")
file(WRITE ${OUT} "${text}")
