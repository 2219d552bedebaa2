/* fixed_panel_dotprod.c: fixed_panel_body.h compiled for processors with dot products. */
#include "kernels/arm/fixed_panel_body.h"
