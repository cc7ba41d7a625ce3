/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Masks: a text is read word by word, and each word is kept or replaced. */
#include "nat-bridge/mask.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* They say nothing of whose host it is. */
static const char *const everybodys[] = { "bridge", "br0",     "container", "default",
					  "docker", "docker0", "eth0",	    "host",
					  "lo",	    "lxdbr0",  "none",	    "null",
					  "podman", "podman0", "root",	    "virbr0" };

static const char *const secrets[] = { "password", "passwd",  "secret", "token", "apikey",
				       "api_key",  "api-key", "bearer", "basic", "authorization" };

static const struct nb_masked_name *find(const struct nb_mask *mask, const char *name,
					 size_t length)
{
	for (size_t i = 0; i < mask->count; i++)
		if (strncmp(mask->names[i].name, name, length) == 0 &&
		    mask->names[i].name[length] == '\0')
			return &mask->names[i];
	return NULL;
}

static void append(struct nb_mask *mask, const char *kind, const char *name, size_t length)
{
	struct nb_masked_name *grown = reallocarray(mask->names, mask->count + 1, sizeof(*grown));
	size_t number = 1;

	if (!grown) {
		mask->no_memory = true;
		return;
	}
	mask->names = grown;
	for (size_t i = 0; i < mask->count; i++)
		number += strncmp(grown[i].mask, kind, strlen(kind)) == 0 &&
			  grown[i].mask[strlen(kind)] == '-';
	grown += mask->count;
	grown->name = strndup(name, length);
	if (!grown->name) {
		mask->no_memory = true;
		return;
	}
	snprintf(grown->mask, sizeof(grown->mask), "%.30s-%zu", kind, number);
	mask->count++;
}

void nb_mask_add(struct nb_mask *mask, const char *kind, const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof(everybodys) / sizeof(everybodys[0]); i++)
		if (strcmp(name, everybodys[i]) == 0)
			return;
	if (length && !find(mask, name, length))
		append(mask, kind, name, length);
}

/* A word that is no name, but is to be masked like one. */
static const char *mask_word(struct nb_mask *mask, const char *kind, const char *word,
			     size_t length)
{
	if (!find(mask, word, length))
		append(mask, kind, word, length);
	return mask->no_memory ? kind : find(mask, word, length)->mask;
}

/* Of a network that nobody reaches from elsewhere, or of documentation. */
bool nb_mask_is_private(uint32_t address)
{
	static const struct {
		uint32_t network;
		unsigned int length;
	} rows[] = {
		{ 0x00000000, 8 },  { 0x0a000000, 8 },	{ 0x64400000, 10 }, { 0x7f000000, 8 },
		{ 0xa9fe0000, 16 }, { 0xac100000, 12 }, { 0xc0000200, 24 }, { 0xc0a80000, 16 },
		{ 0xc6120000, 15 }, { 0xc6336400, 24 }, { 0xcb007100, 24 }, { 0xe0000000, 3 },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if ((address ^ rows[i].network) >> (32 - rows[i].length) == 0)
			return true;
	return false;
}

static bool is_name_character(char character)
{
	return isalnum((unsigned char)character) || (character && strchr("_.-%", character)) ||
	       (unsigned char)character >= 0x80;
}

static bool is_address_character(char character)
{
	return isxdigit((unsigned char)character) || character == ':' || character == '.';
}

static bool is_mac(const char *text, size_t length)
{
	if (length != 17)
		return false;
	for (size_t i = 0; i < length; i++)
		if (i % 3 == 2 ? text[i] != ':' : !isxdigit((unsigned char)text[i]))
			return false;
	return true;
}

/* How much of @text, which begins with a word, is an address that is to be masked; 0: none. */
static size_t find_address(const char *text, const char **ret_kind)
{
	char word[INET6_ADDRSTRLEN];
	struct in6_addr six;
	struct in_addr four;
	size_t length = 0, colons = 0;

	while (is_address_character(text[length]))
		colons += text[length++] == ':';
	while (length && strchr(":.", text[length - 1]) && !(length > 1 && text[length - 2] == ':'))
		length--;
	if (is_mac(text, length)) {
		*ret_kind = "mac";
		return length;
	}
	/* "203.0.113.1:80" */
	if (colons == 1)
		length = strcspn(text, ":");
	if (length < 2 || length >= sizeof(word) || isalnum((unsigned char)text[length]))
		return 0;
	snprintf(word, sizeof(word), "%.*s", (int)length, text);
	*ret_kind = "address";
	if (inet_pton(AF_INET, word, &four) == 1)
		return nb_mask_is_private(ntohl(four.s_addr)) ? 0 : length;
	if (inet_pton(AF_INET6, word, &six) == 1 && (six.s6_addr[0] & 0xe0) == 0x20)
		return length;
	return 0;
}

/* Is @text behind a word that says that a secret follows? Returns how long that is. */
static size_t find_secret(const char *text)
{
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		size_t length = strlen(secrets[i]);
		size_t gap;

		if (strncasecmp(text, secrets[i], length) != 0)
			continue;
		gap = strspn(text + length, "=: \\\"'");
		if (gap)
			return length + gap;
	}
	return 0;
}

/* "://user:secret@": how long it is before the "@"; 0: it is none. */
static size_t find_login(const char *text)
{
	size_t length;

	if (strncmp(text, "://", 3) != 0)
		return 0;
	length = 3 + strcspn(text + 3, "@/ \\\"'\n");
	return text[length] == '@' ? length : 0;
}

/* How much of @text is a secret and what says so; it is written masked. */
static size_t mask_secret(const char *text, FILE *out)
{
	size_t length = find_secret(text), more;

	if (!length) {
		length = find_login(text);
		if (length)
			fputs("://(masked)", out);
		return length;
	}
	/* "Authorization: Bearer ..." */
	while ((more = find_secret(text + length)))
		length += more;
	fprintf(out, "%.*s(masked)", (int)length, text);
	return length + strcspn(text + length, " \\\"',;\n");
}

/* How long the word is with which @text begins: to where a secret is told of, at most. */
static size_t measure_word(const char *text)
{
	size_t length = 0;

	while (is_name_character(text[length]) && (length == 0 || !find_secret(text + length)))
		length++;
	return length;
}

static void mask_next(struct nb_mask *mask, const char **text, FILE *out)
{
	const struct nb_masked_name *name;
	const char *kind;
	size_t length = mask_secret(*text, out);

	if (length) {
		*text += length;
		return;
	}
	length = find_address(*text, &kind);
	if (length) {
		fputs(mask_word(mask, kind, *text, length), out);
		*text += length;
		return;
	}
	length = measure_word(*text);
	/* "at web." ends a sentence; "web.json" is another word, and "web-1" yet another */
	while (length > 1 && (*text)[length - 1] == '.')
		length--;
	name = length ? find(mask, *text, length) : NULL;
	if (length == 0)
		length = 1;
	if (name)
		fputs(name->mask, out);
	else
		fwrite(*text, 1, length, out);
	*text += length;
	if (length == 4 && strncmp(*text - length, "home", 4) == 0 && **text == '/') {
		fputc('/', out);
		(*text)++;
		length = strcspn(*text, "/\\\"' \n");
		if (length)
			fputs(mask_word(mask, "user", *text, length), out);
		*text += length;
	}
}

char *nb_mask_text(struct nb_mask *mask, const char *text)
{
	char *buffer = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&buffer, &size);

	if (!out)
		return NULL;
	while (*text)
		mask_next(mask, &text, out);
	if (fclose(out) != 0 || mask->no_memory) {
		free(buffer);
		return NULL;
	}
	return buffer;
}

void nb_mask_clear(struct nb_mask *mask)
{
	for (size_t i = 0; i < mask->count; i++)
		free(mask->names[i].name);
	free(mask->names);
	memset(mask, 0, sizeof(*mask));
}
