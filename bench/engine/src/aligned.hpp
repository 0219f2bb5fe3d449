// Heap arrays aligned to a cache line (and to the widest vector), zeroed on construction.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

namespace lanewise {

constexpr std::size_t kAlignment = 64;

inline std::size_t round_up(std::size_t n, std::size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

template <typename T> class Aligned {
public:
    Aligned() = default;
    explicit Aligned(std::size_t size) : size_(size) {
        const std::size_t bytes = round_up(size * sizeof(T) + 1, kAlignment);
        data_.reset(static_cast<T*>(std::aligned_alloc(kAlignment, bytes)));
        if (!data_)
            throw std::bad_alloc();
        std::memset(static_cast<void*>(data_.get()), 0, bytes);
    }
    Aligned(const T* from, std::size_t size) : Aligned(size) {
        if (size)
            std::memcpy(data_.get(), from, size * sizeof(T));
    }

    T* data() { return data_.get(); }
    const T* data() const { return data_.get(); }
    std::size_t size() const { return size_; }
    T& operator[](std::size_t i) { return data_.get()[i]; }
    const T& operator[](std::size_t i) const { return data_.get()[i]; }

private:
    struct Free {
        void operator()(T* p) const { std::free(p); }
    };
    std::unique_ptr<T, Free> data_;
    std::size_t size_ = 0;
};

} // namespace lanewise
