#include "mapped_file.hpp"

#include "error.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace lanewise {

MappedFile::MappedFile(const std::string& path) {
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) {
        throw Error(path + ": cannot be opened: " +
                    (errno == ENOENT ? "there is no such file" : std::string(std::strerror(errno))));
    }
    struct stat info{};
    const bool regular = fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode);
    void* mapped = nullptr;
    if (regular && info.st_size > 0)
        mapped = mmap(nullptr, static_cast<std::size_t>(info.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
    close(descriptor);
    if (!regular)
        throw Error(path + ": is not a regular file");
    if (mapped == MAP_FAILED)
        throw Error(path + ": cannot be read: " + std::strerror(errno));
    data_ = static_cast<const unsigned char*>(mapped);
    size_ = static_cast<std::size_t>(info.st_size);
}

MappedFile::~MappedFile() {
    if (data_)
        munmap(const_cast<unsigned char*>(data_), size_);
}

} // namespace lanewise
