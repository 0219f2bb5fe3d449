#include "kernels.hpp"

namespace lanewise {

MatVecFn matvec_kernel(const Kernels& kernels, const MatrixView& m) {
    switch (m.format) {
    case Format::dense:
        return kernels.dense;
    case Format::compact:
        return kernels.compact;
    case Format::row_group:
        switch (m.group) {
        case 4:
            return kernels.row_group_4;
        case 8:
            return kernels.row_group_8;
        case 16:
            return kernels.row_group_16;
        case 32:
            return kernels.row_group_32;
        }
        break;
    case Format::dot_group:
        switch (m.group) {
        case 1:
            return kernels.dot_group_1;
        case 4:
            return kernels.dot_group_4;
        case 8:
            return kernels.dot_group_8;
        case 16:
            return kernels.dot_group_16;
        }
        break;
    }
    return nullptr;
}

} // namespace lanewise
