/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scan.h"

#include <cJSON.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "nat-bridge/mapping.h"

static void format_key(const struct nb_scan *scan, char *key, size_t size)
{
	if (scan->index == SIZE_MAX)
		snprintf(key, size, "%s", scan->top);
	else if (!scan->member[0])
		snprintf(key, size, "%s[%zu]", scan->top, scan->index);
	else
		snprintf(key, size, "%s[%zu].%s", scan->top, scan->index, scan->member);
}

int nb_scan_fail(struct nb_scan *scan, unsigned int line, const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	nb_error_set(scan->err, NB_STATUS_USAGE, EINVAL, scan->code, "%s", text);
	if (scan->err) {
		char key[2 * NB_SCAN_KEY + 32];

		format_key(scan, key, sizeof(key));
		nb_copy_line(scan->err->file, sizeof(scan->err->file), scan->file);
		nb_copy_line(scan->err->key, sizeof(scan->err->key), key);
		scan->err->line = line;
	}
	return -EINVAL;
}

/* What stands at the cursor, for messages. */
static int fail_expected(struct nb_scan *scan, const char *expected)
{
	unsigned char byte;

	if (scan->at == scan->end)
		return nb_scan_fail(scan, scan->line, "the file ends where %s is expected",
				    expected);
	byte = (unsigned char)*scan->at;
	if (byte == '/')
		return nb_scan_fail(scan, scan->line,
				    "%s is expected, but there is a '/'; JSON has no comments "
				    "(use the key \"comment\")",
				    expected);
	if (byte == '\'')
		return nb_scan_fail(scan, scan->line,
				    "%s is expected, but there is a \"'\"; JSON quotes with '\"'",
				    expected);
	if (byte > 0x20 && byte < 0x7f)
		return nb_scan_fail(scan, scan->line, "%s is expected, but there is a '%c'",
				    expected, byte);
	return nb_scan_fail(scan, scan->line, "%s is expected, but there is the byte 0x%02x",
			    expected, byte);
}

static void skip_blanks(struct nb_scan *scan)
{
	for (; scan->at < scan->end; scan->at++) {
		if (*scan->at == '\n')
			scan->line++;
		else if (*scan->at != ' ' && *scan->at != '\t' && *scan->at != '\r')
			break;
	}
}

static bool take(struct nb_scan *scan, char c)
{
	skip_blanks(scan);
	if (scan->at == scan->end || *scan->at != c)
		return false;
	scan->at++;
	return true;
}

int nb_scan_begin(struct nb_scan *scan, const char *file, const char *code, const char *text,
		  size_t length, struct nb_error *err)
{
	*scan = (struct nb_scan){
		.file = file,
		.code = code,
		.at = text,
		.end = text + length,
		.line = 1,
		.index = SIZE_MAX,
		.err = err,
	};
	if (length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		return nb_scan_fail(scan, 1,
				    "the file begins with a byte order mark; save it as "
				    "UTF-8 without one");
	skip_blanks(scan);
	if (scan->at == scan->end)
		return nb_scan_fail(scan, 0,
				    "the file is empty; write a JSON object into it, or "
				    "delete it");
	return 0;
}

int nb_scan_end(struct nb_scan *scan)
{
	scan->top[0] = '\0';
	skip_blanks(scan);
	if (scan->at != scan->end)
		return fail_expected(scan, "the end of the file");
	return 0;
}

/* The four hexadecimal digits of \uXXXX, or -1. */
static int read_hex(const struct nb_scan *scan, const char *digits)
{
	int value = 0;

	if (scan->end - digits < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = digits[i];

		if (c >= '0' && c <= '9')
			value = 16 * value + c - '0';
		else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
			value = 16 * value + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return value;
}

/* At the backslash. */
static int scan_escape(struct nb_scan *scan)
{
	int unit;

	if (scan->end - scan->at >= 2 && memchr("\"\\/bfnrt", scan->at[1], 8)) {
		scan->at += 2;
		return 0;
	}
	if (scan->end - scan->at < 2 || scan->at[1] != 'u')
		return nb_scan_fail(scan, scan->line,
				    "a string holds a backslash that begins no "
				    "escape; write it as \\\\");
	unit = read_hex(scan, scan->at + 2);
	if (unit < 0)
		return nb_scan_fail(scan, scan->line,
				    "\\u needs four hexadecimal digits in a string");
	if (!unit)
		return nb_scan_fail(scan, scan->line, "a string holds \\u0000; take it out");
	scan->at += 6;
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	if (unit < 0xdc00 && scan->end - scan->at >= 6 && scan->at[0] == '\\' &&
	    scan->at[1] == 'u') {
		int low = read_hex(scan, scan->at + 2);

		if (low >= 0xdc00 && low <= 0xdfff) {
			scan->at += 6;
			return 0;
		}
	}
	return nb_scan_fail(scan, scan->line,
			    "a string holds \\u%04x, half of a surrogate pair; write the character "
			    "itself",
			    unit);
}

static int scan_string(struct nb_scan *scan, struct nb_scan_value *ret)
{
	const char *start = ++scan->at;
	bool escaped = false;

	while (scan->at < scan->end && *scan->at != '"') {
		unsigned char byte = (unsigned char)*scan->at;
		size_t size;

		if (byte == '\\') {
			int r = scan_escape(scan);

			if (r)
				return r;
			escaped = true;
			continue;
		}
		if (byte == '\n' || byte == '\r')
			return nb_scan_fail(scan, scan->line, "a string is not closed on its line");
		if (byte < 0x20)
			return nb_scan_fail(scan, scan->line,
					    "a string holds the raw control character 0x%02x; take "
					    "it out",
					    byte);
		size = byte < 0x80 ? 1 : nb_utf8_sequence(scan->at, (size_t)(scan->end - scan->at));
		if (!size)
			return nb_scan_fail(scan, scan->line,
					    "a string holds the byte 0x%02x, which is no UTF-8; "
					    "save the file as UTF-8",
					    byte);
		scan->at += size;
	}
	if (scan->at == scan->end)
		return nb_scan_fail(scan, scan->line, "the file ends within a string");
	*ret = (struct nb_scan_value){
		.type = NB_SCAN_STRING,
		.text = start,
		.length = (size_t)(scan->at - start),
		.line = scan->line,
		.escaped = escaped,
	};
	scan->at++;
	return 0;
}

static const char *skip_digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

/* number = [ minus ] int [ frac ] [ exp ] */
static bool number_valid(const char *at, const char *end)
{
	const char *digits;

	if (at < end && *at == '-')
		at++;
	digits = at;
	at = skip_digits(at, end);
	if (at == digits || (*digits == '0' && at - digits > 1))
		return false;
	if (at < end && *at == '.') {
		digits = ++at;
		at = skip_digits(at, end);
		if (at == digits)
			return false;
	}
	if (at < end && (*at == 'e' || *at == 'E')) {
		at++;
		if (at < end && (*at == '+' || *at == '-'))
			at++;
		digits = at;
		at = skip_digits(at, end);
		if (at == digits)
			return false;
	}
	return at == end;
}

/* All that a bare word may be made of is taken first, so that a message can show the whole. */
static int scan_word(struct nb_scan *scan, struct nb_scan_value *ret)
{
	static const struct {
		const char *word;
		enum nb_scan_type type;
	} literals[] = {
		{ "true", NB_SCAN_TRUE },
		{ "false", NB_SCAN_FALSE },
		{ "null", NB_SCAN_NULL },
	};
	const char *start = scan->at;
	size_t length = 0;
	int shown;

	while (start + length < scan->end &&
	       (strchr("+-._", start[length]) || (start[length] >= '0' && start[length] <= '9') ||
		((start[length] | 0x20) >= 'a' && (start[length] | 0x20) <= 'z')) &&
	       start[length])
		length++;
	if (!length)
		return fail_expected(scan, "a value");
	*ret = (struct nb_scan_value){
		.text = start,
		.length = length,
		.line = scan->line,
	};
	scan->at += length;
	for (size_t i = 0; i < sizeof(literals) / sizeof(literals[0]); i++) {
		if (length == strlen(literals[i].word) &&
		    !memcmp(start, literals[i].word, length)) {
			ret->type = literals[i].type;
			return 0;
		}
	}
	ret->type = NB_SCAN_NUMBER;
	if (number_valid(start, start + length))
		return 0;
	shown = length < 40 ? (int)length : 40;
	if (strchr("+-.0123456789", *start))
		return nb_scan_fail(scan, scan->line,
				    "%.*s is no number in JSON: plain decimals, no leading zero, "
				    "no plus sign",
				    shown, start);
	return nb_scan_fail(scan, scan->line,
			    "%.*s is no value in JSON; quote it if it is a string", shown, start);
}

bool nb_scan_next_is(struct nb_scan *scan, enum nb_scan_type type)
{
	char c;

	skip_blanks(scan);
	if (scan->at == scan->end)
		return false;
	c = *scan->at;
	return type == NB_SCAN_OBJECT ? c == '{' : type == NB_SCAN_ARRAY && c == '[';
}

static int skip_member(struct nb_scan *scan, const char *key, unsigned int line, void *data)
{
	struct nb_scan_value value = { 0 };

	(void)key;
	(void)line;
	(void)data;
	return nb_scan_value(scan, &value);
}

static int skip_element(struct nb_scan *scan, unsigned int line, void *data)
{
	return skip_member(scan, NULL, line, data);
}

int nb_scan_value(struct nb_scan *scan, struct nb_scan_value *ret)
{
	struct nb_scan_value value = { 0 };
	int r;

	skip_blanks(scan);
	if (scan->at == scan->end)
		return fail_expected(scan, "a value");
	if (*scan->at == '"')
		return scan_string(scan, ret);
	if (*scan->at != '{' && *scan->at != '[')
		return scan_word(scan, ret);
	value.text = scan->at;
	value.line = scan->line;
	value.type = *scan->at == '{' ? NB_SCAN_OBJECT : NB_SCAN_ARRAY;
	if (value.type == NB_SCAN_OBJECT)
		r = nb_scan_members(scan, skip_member, NULL);
	else
		r = nb_scan_elements(scan, skip_element, NULL);
	if (r)
		return r;
	value.length = (size_t)(scan->at - value.text);
	*ret = value;
	return 0;
}

static int enter(struct nb_scan *scan, char c)
{
	if (!take(scan, c))
		return fail_expected(scan, c == '{' ? "an object" : "an array");
	if (scan->depth == NB_SCAN_DEPTH)
		return nb_scan_fail(scan, scan->line, "nested deeper than %d levels",
				    NB_SCAN_DEPTH);
	scan->depth++;
	return 0;
}

/* The next key, decoded and cut, and its colon. */
static int scan_key(struct nb_scan *scan, char *key, unsigned int *ret_line)
{
	struct nb_scan_value value = { .text = "" };
	int r;

	skip_blanks(scan);
	if (scan->at == scan->end || *scan->at != '"')
		return fail_expected(scan, "a key in double quotes");
	r = scan_string(scan, &value);
	if (r)
		return r;
	if (value.escaped) {
		char *decoded = nb_scan_string(&value);

		if (!decoded)
			return nb_error_set(scan->err, NB_STATUS_FAILED, ENOMEM, "memory",
					    "out of memory");
		snprintf(key, NB_SCAN_KEY, "%s", decoded);
		free(decoded);
	} else {
		size_t length = value.length < NB_SCAN_KEY ? value.length : NB_SCAN_KEY - 1;

		memcpy(key, value.text, length);
		key[length] = '\0';
	}
	*ret_line = value.line;
	return take(scan, ':') ? 0 : fail_expected(scan, "a ':'");
}

/* A comma, behind which there has to be something: the commonest slip in JSON. */
static int take_comma(struct nb_scan *scan, char end, bool *ret_more)
{
	*ret_more = take(scan, ',');
	skip_blanks(scan);
	if (*ret_more && scan->at < scan->end && *scan->at == end)
		return nb_scan_fail(scan, scan->line,
				    "a ',' stands before the closing '%c'; take it away", end);
	return 0;
}

int nb_scan_members(struct nb_scan *scan,
		    int (*member)(struct nb_scan *scan, const char *key, unsigned int line,
				  void *data),
		    void *data)
{
	char *place = NULL;
	bool more;
	int r = enter(scan, '{');

	if (r)
		return r;
	if (scan->depth == 1)
		place = scan->top;
	else if (scan->depth == 3 && scan->index != SIZE_MAX)
		place = scan->member;
	if (!take(scan, '}')) {
		do {
			char key[NB_SCAN_KEY];
			unsigned int line = 0;

			if (place)
				place[0] = '\0';
			r = scan_key(scan, key, &line);
			if (r)
				return r;
			if (place)
				memcpy(place, key, strlen(key) + 1);
			r = member(scan, key, line, data);
			if (!r)
				r = take_comma(scan, '}', &more);
			if (r)
				return r;
		} while (more);
		if (!take(scan, '}'))
			return fail_expected(scan, "a ',' or '}'");
	}
	if (place)
		place[0] = '\0';
	scan->depth--;
	return 0;
}

int nb_scan_elements(struct nb_scan *scan,
		     int (*element)(struct nb_scan *scan, unsigned int line, void *data),
		     void *data)
{
	bool counts, more;
	int r = enter(scan, '[');

	if (r)
		return r;
	counts = scan->depth == 2;
	if (!take(scan, ']')) {
		do {
			if (counts)
				scan->index++; /* from SIZE_MAX to 0 */
			skip_blanks(scan);
			r = element(scan, scan->line, data);
			if (!r)
				r = take_comma(scan, ']', &more);
			if (r)
				return r;
		} while (more);
		if (!take(scan, ']'))
			return fail_expected(scan, "a ',' or ']'");
	}
	if (counts)
		scan->index = SIZE_MAX;
	scan->depth--;
	return 0;
}

int nb_scan_key(struct nb_scan *scan, const char *key, unsigned int line, const char *const *keys,
		size_t count, unsigned int *seen, size_t *ret)
{
	size_t i = 0;

	while (i < count && strcmp(key, keys[i]) != 0)
		i++;
	if (i == count) {
		size_t nearest = nb_nearest(key, keys, count);

		if (nearest != SIZE_MAX)
			return nb_scan_fail(scan, line, "unknown key; did you mean \"%s\"?",
					    keys[nearest]);
		return nb_scan_fail(scan, line, "unknown key");
	}
	if (*seen & 1u << i)
		return nb_scan_fail(scan, line, "this key occurs twice here; keep one");
	*seen |= 1u << i;
	*ret = i;
	return 0;
}

char *nb_scan_string(const struct nb_scan_value *value)
{
	char *text = NULL;
	cJSON *json;

	if (!value->escaped)
		return strndup(value->text, value->length);
	/* With its quotes, which stand on both sides. */
	json = cJSON_ParseWithLength(value->text - 1, value->length + 2);
	if (json && cJSON_IsString(json))
		text = strdup(json->valuestring);
	cJSON_Delete(json);
	return text;
}
