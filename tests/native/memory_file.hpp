// A file in memory with a path, for readers that take one; nothing is left behind.
#pragma once

#include <stdexcept>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

namespace lanewise::test {

class MemoryFile {
public:
    MemoryFile() : descriptor_(memfd_create("lanewise", 0)) {
        if (descriptor_ < 0)
            throw std::runtime_error("no file in memory can be made here");
    }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    ~MemoryFile() { close(descriptor_); }

    std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }
    void set(const std::string& bytes) {
        if (ftruncate(descriptor_, 0) != 0 ||
            pwrite(descriptor_, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
            throw std::runtime_error("the file in memory cannot be written");
    }
    // Long, but of the given bytes only at its start: takes no memory.
    void set_sparse(const std::string& bytes, std::uint64_t size) {
        set(bytes);
        if (ftruncate(descriptor_, static_cast<off_t>(size)) != 0)
            throw std::runtime_error("the file in memory cannot grow");
    }

private:
    int descriptor_;
};

} // namespace lanewise::test
