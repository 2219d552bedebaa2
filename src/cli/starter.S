/* The built-in model, as it is in models/starter/, in read-only memory. LLLM_STARTER_PATH comes
 * from the build. */
    .section .rodata.lllm_starter, "a", %progbits
    .balign 64
    .global lllm_starter_begin
lllm_starter_begin:
    .incbin LLLM_STARTER_PATH
    .global lllm_starter_end
lllm_starter_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
