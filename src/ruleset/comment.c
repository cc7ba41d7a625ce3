/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Comments of elements: words with slashes between them. No word holds a
 * slash itself, since neither interface names nor engines' network names may.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nat-bridge/ruleset.h"

#define PREVIOUS  "previous:"
#define RUNTIME	  "runtime"
#define EXTERNAL  "external"
#define WORD_SIZE (3 * NB_NETWORK_SIZE)

static bool is_plain(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_.:@-", c));
}

static void encode(const struct nb_network *network, char *word)
{
	char text[NB_NETWORK_SIZE];
	size_t length = 0;

	nb_network_format(network, text);
	for (const char *c = text; *c; c++) {
		if (is_plain(*c))
			word[length++] = *c;
		else
			length += (size_t)sprintf(word + length, "%%%02X", (unsigned char)*c);
	}
	word[length] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool decode(const char *word, size_t length, struct nb_network *ret)
{
	char text[NB_NETWORK_SIZE];
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		char c = word[i];

		if (c == '%' && i + 2 < length && hex_digit(word[i + 1]) >= 0 &&
		    hex_digit(word[i + 2]) >= 0) {
			c = (char)(hex_digit(word[i + 1]) * 16 + hex_digit(word[i + 2]));
			i += 2;
		}
		if (used + 1 >= sizeof(text))
			return false;
		text[used++] = c;
	}
	text[used] = '\0';
	return nb_network_parse(text, ret, NULL) == 0;
}

/* The next word of @comment after *@position; its length is 0 at the end. */
static const char *next_word(const char *comment, size_t *position, size_t *ret_length)
{
	const char *word = comment + *position;

	*ret_length = strcspn(word, "/");
	*position += *ret_length + (word[*ret_length] == '/');
	return word;
}

static bool word_is(const char *word, size_t length, const char *text)
{
	return length == strlen(text) && memcmp(word, text, length) == 0;
}

bool nb_comment_has_network(const char *comment, const struct nb_network *network)
{
	char wanted[WORD_SIZE];
	size_t position = 0, length;
	const char *word;

	encode(network, wanted);
	while (word = next_word(comment, &position, &length), length > 0)
		if (word_is(word, length, wanted))
			return true;
	return false;
}

static bool append_word(char *comment, const char *word)
{
	size_t used = strlen(comment);

	if (used + (used > 0) + strlen(word) >= NB_ELEMENT_COMMENT)
		return false;
	sprintf(comment + used, "%s%s", used ? "/" : "", word);
	return true;
}

void nb_comment_add_network(char *comment, const struct nb_network *network)
{
	char word[WORD_SIZE];

	if (nb_comment_has_network(comment, network))
		return;
	encode(network, word);
	append_word(comment, word);
}

bool nb_comment_next_network(const char *comment, size_t *position, struct nb_network *ret)
{
	size_t length;
	const char *word;

	while (word = next_word(comment, position, &length), length > 0)
		if (decode(word, length, ret))
			return true;
	return false;
}

bool nb_comment_first_network(const char *comment, struct nb_network *ret)
{
	size_t position = 0;

	return nb_comment_next_network(comment, &position, ret);
}

static const char *find_previous(const char *comment, size_t *ret_length)
{
	size_t position = 0, length;
	const char *word;

	while (word = next_word(comment, &position, &length), length > 0) {
		if (length > strlen(PREVIOUS) && strncmp(word, PREVIOUS, strlen(PREVIOUS)) == 0) {
			*ret_length = length;
			return word;
		}
	}
	return NULL;
}

bool nb_comment_says_previous(const char *comment)
{
	size_t length;

	return find_previous(comment, &length) != NULL;
}

uint32_t nb_comment_previous(const char *comment)
{
	size_t length;
	const char *word = find_previous(comment, &length);

	return word ? (uint32_t)strtoul(word + strlen(PREVIOUS), NULL, 10) : 0;
}

void nb_comment_set_previous(char *comment, uint32_t previous)
{
	char word[32];
	size_t length;
	char *found = (char *)(uintptr_t)find_previous(comment, &length);

	if (found) {
		/* always the last word */
		if (found > comment)
			found--;
		*found = '\0';
	}
	snprintf(word, sizeof(word), PREVIOUS "%u", previous);
	/* it matters more than a name that fills the room */
	while (!append_word(comment, word)) {
		char *slash = strrchr(comment, '/');

		*(slash ? slash : comment) = '\0';
	}
}

/* Call @visit for each network that @comment names; stops when it returns false. */
static bool each_network(const char *comment, bool (*visit)(const struct nb_network *, void *),
			 void *data)
{
	size_t position = 0, length;
	struct nb_network network;
	const char *word;

	while (word = next_word(comment, &position, &length), length > 0)
		if (decode(word, length, &network) && !visit(&network, data))
			return false;
	return true;
}

static bool visit_add(const struct nb_network *network, void *data)
{
	nb_comment_add_network(data, network);
	return true;
}

void nb_comment_add_networks(char *to, const char *from)
{
	each_network(from, visit_add, to);
}

static bool visit_has(const struct nb_network *network, void *data)
{
	return nb_comment_has_network(data, network);
}

bool nb_comment_equal(const char *a, const char *b)
{
	return nb_comment_previous(a) == nb_comment_previous(b) &&
	       each_network(a, visit_has, (void *)(uintptr_t)b) &&
	       each_network(b, visit_has, (void *)(uintptr_t)a);
}

const char *nb_comment_runtime(const struct nb_network *network, bool external, char *buffer)
{
	char word[WORD_SIZE];

	strcpy(buffer, RUNTIME);
	if (external)
		append_word(buffer, EXTERNAL);
	encode(network, word);
	append_word(buffer, word);
	return buffer;
}

bool nb_comment_is_runtime(const char *comment, struct nb_network *ret, bool *ret_external)
{
	size_t position = 0, length;
	const char *word;
	bool external = false;

	if (!comment)
		return false;
	word = next_word(comment, &position, &length);
	if (!word_is(word, length, RUNTIME))
		return false;
	word = next_word(comment, &position, &length);
	if (word_is(word, length, EXTERNAL)) {
		external = true;
		word = next_word(comment, &position, &length);
	}
	if (!decode(word, length, ret))
		return false;
	*ret_external = external;
	return true;
}
