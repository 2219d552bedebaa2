/* fixed_rows_dotprod.c: fixed_rows_body.h compiled for processors with dot products. */
#include "kernels/arm/fixed_rows_body.h"
