/* fixed_panel_i8mm.c: fixed_panel_body.h compiled for those with matrix products. */
#include "kernels/arm/fixed_panel_body.h"
