// A file seen as bytes. Its pages belong to the page cache: they cost the process no memory of its own, where a copy
// would double what loading a model takes. The price: if another process truncates the file meanwhile, reading it ends
// this one with SIGBUS. Whatever writes models and sounds here renames a finished file into place.
#pragma once

#include <cstddef>
#include <string>

namespace lanewise {

class MappedFile {
public:
    // Throws Error naming the file.
    explicit MappedFile(const std::string& path);
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    const unsigned char* data() const { return data_; } // aligned to a page; null if empty
    std::size_t size() const { return size_; }

private:
    const unsigned char* data_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace lanewise
