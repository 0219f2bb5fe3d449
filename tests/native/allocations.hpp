// Counts allocations; for a program linked with --wrap=malloc and --wrap=aligned_alloc, in one file of it.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

// Every allocation of the core and of this file passes one of these (malloc and aligned_alloc by the linker's --wrap).
namespace {
std::size_t allocations = 0;
}
extern "C" {
void* __real_malloc(std::size_t size);
void* __real_aligned_alloc(std::size_t alignment, std::size_t size);
void* __wrap_malloc(std::size_t size) {
    ++allocations;
    return __real_malloc(size);
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t size) {
    ++allocations;
    return __real_aligned_alloc(alignment, size);
}
}
// Not inlined: the compiler would object to free() meeting new, whose malloc() it does not see.
[[gnu::noinline]] void* operator new(std::size_t size) {
    if (void* p = malloc(size))
        return p;
    throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
    free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
    free(p);
}
