/* fixed_panel_neon.c: fixed_panel_body.h compiled for every 64-bit Arm processor. */
#include "kernels/arm/fixed_panel_body.h"
