/* sanitized.h: whether a test runs under AddressSanitizer or ThreadSanitizer, whose own memory says
 * nothing about a process's peak. */
#ifndef LLLM_TESTS_SANITIZED_H
#define LLLM_TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#endif
