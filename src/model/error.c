/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

/* gcc 12 takes what an element of an array owns for leaked when the index is no constant. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"
#endif

static void format_line(char *to, size_t size, const char *format, va_list arguments)
	__attribute__((format(printf, 3, 0)));

static void format_line(char *to, size_t size, const char *format, va_list arguments)
{
	char text[2048];

	if (vsnprintf(text, sizeof(text), format, arguments) < 0)
		text[0] = '\0';
	nb_copy_line(to, size, text);
}

int nb_error_set(struct nb_error *err, enum nb_status status, int number, const char *code,
		 const char *format, ...)
{
	struct nb_error filled = { .status = status, .number = number };
	va_list arguments;

	if (!err)
		return number > 0 ? -number : -EINVAL;
	/* Not straight into err: the arguments may point into it. */
	va_start(arguments, format);
	format_line(filled.message, sizeof(filled.message), format, arguments);
	va_end(arguments);
	nb_copy_line(filled.code, sizeof(filled.code), code);
	*err = filled;
	return number > 0 ? -number : -EINVAL;
}

void nb_error_prefix(struct nb_error *err, const char *format, ...)
{
	char whole[2048];
	va_list arguments;
	size_t length;

	if (!err)
		return;
	va_start(arguments, format);
	format_line(whole, sizeof(whole) / 2, format, arguments);
	va_end(arguments);
	length = strlen(whole);
	snprintf(whole + length, sizeof(whole) - length, ": %s", err->message);
	nb_copy_line(err->message, sizeof(err->message), whole);
}

void nb_warn(struct nb_warnings *warnings, const char *format, ...)
{
	char text[1024];
	va_list arguments;

	if (!warnings)
		return;
	va_start(arguments, format);
	format_line(text, sizeof(text), format, arguments);
	va_end(arguments);
	for (size_t i = 0; i < warnings->count; i++) {
		if (!strcmp(warnings->items[i], text))
			return;
	}
	/* No capacity is kept: the array is full whenever its count is a power of two. */
	if (!(warnings->count & (warnings->count - 1))) {
		size_t capacity = warnings->count ? 2 * warnings->count : 1;
		char **items = reallocarray(warnings->items, capacity, sizeof(*items));

		if (!items)
			return;
		warnings->items = items;
	}
	warnings->items[warnings->count] = strdup(text);
	if (warnings->items[warnings->count])
		warnings->count++;
}

void nb_warnings_clear(struct nb_warnings *warnings)
{
	for (size_t i = 0; i < warnings->count; i++)
		free(warnings->items[i]);
	free(warnings->items);
	warnings->items = NULL;
	warnings->count = 0;
}
