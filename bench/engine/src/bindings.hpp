// What the parts of the Python module share.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstddef>

namespace lanewise {

namespace nb = nanobind;

template <typename T> using Array1 = nb::ndarray<const T, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
template <typename T> using Array2 = nb::ndarray<const T, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;

// A new numpy array that owns its memory.
template <typename T, typename... Sizes> nb::ndarray<nb::numpy, T> new_array(T*& data, Sizes... sizes) {
    data = new T[(static_cast<std::size_t>(sizes) * ... * std::size_t{1})];
    nb::capsule owner(data, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    return nb::ndarray<nb::numpy, T>(data, {static_cast<std::size_t>(sizes)...}, owner);
}

void bind_enhancer(nb::module_& m);

} // namespace lanewise
