/* activation.h: the nonlinear functions of feed-forward blocks. */
#ifndef LLLM_KERNELS_ACTIVATION_H
#define LLLM_KERNELS_ACTIVATION_H

/* The nonlinear function of a feed-forward block. With sigma(z) = 1 / (1 + exp(-z)): */
enum kernel_activation {
    KERNEL_SILU,      /* z sigma(z) (Elfwing et al., 2017) */
    KERNEL_GELU,      /* z Phi(z) = z/2 (1 + erf(z / sqrt 2)) (Hendrycks and Gimpel, 2016) */
    KERNEL_GELU_TANH, /* z sigma(2 sqrt(2/pi) (z + 0.044715 z^3)): its "tanh" approximation */
    KERNEL_RELU,      /* max(z, 0) */
    KERNEL_TANH,      /* tanh(z): the pooling layer of BERT */
    /* min(z, 7) sigma(1.702 min(z, 7)); as a gate, the other factor is 1 + up with up cut to
     * [-7, 7] (gpt-oss model card, 2025). */
    KERNEL_SWIGLU_CLAMPED,
};

#endif
