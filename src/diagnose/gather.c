/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One rule that concerns many ports: one cause, and one command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose.h"

static bool is_alike(const struct nb_cause *a, const struct nb_cause *b)
{
	return a->doer[0] && a->port && b->port && a->severity == b->severity &&
	       a->protocol == b->protocol && a->ours == b->ours && strcmp(a->code, b->code) == 0 &&
	       strcmp(a->bridge, b->bridge) == 0 && strcmp(a->doer, b->doer) == 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The text with "$port" wherever it has that number. */
static void make_template(const char *text, uint16_t port, char *buffer, size_t size)
{
	char number[8];
	size_t length = (size_t)snprintf(number, sizeof(number), "%u", port), used = 0;

	for (const char *at = text; *at && used + sizeof("$port") < size;) {
		bool begins = at == text || !is_digit(at[-1]);

		if (begins && strncmp(at, number, length) == 0 && !is_digit(at[length])) {
			memcpy(buffer + used, "$port", 5);
			used += 5;
			at += length;
		} else {
			buffer[used++] = *at++;
		}
	}
	buffer[used] = '\0';
}

static int by_number(const void *a, const void *b)
{
	return *(const uint16_t *)a - *(const uint16_t *)b;
}

/* How many from @ports on follow one another. */
static size_t run_length(const uint16_t *ports, size_t count)
{
	size_t run = 1;

	while (run < count && ports[run] == ports[run - 1] + 1)
		run++;
	return run;
}

/*
 * Sorted ports, and runs of three and more as one word, for the eye or for a shell. Returns how many
 * there was room for.
 */
static size_t word_ports(const uint16_t *ports, size_t count, bool for_shell, char *buffer,
			 size_t size)
{
	const char *between = for_shell ? " " : ", ";
	size_t used = 0, i = 0, run;

	buffer[0] = '\0';
	for (; i < count; i += run) {
		char word[64];
		size_t length;

		run = run_length(&ports[i], count - i);
		if (run < 3)
			run = 1;
		if (run == 1)
			length = (size_t)snprintf(word, sizeof(word), "%s%u", i ? between : "",
						  ports[i]);
		else
			length = (size_t)snprintf(word, sizeof(word),
						  for_shell ? "%s$(seq %u %u)" : "%s%u-%u",
						  i ? between : "", ports[i], ports[i + run - 1]);
		if (used + length >= size)
			break;
		memcpy(buffer + used, word, length + 1);
		used += length;
	}
	return i;
}

/* The @count ports beside its own. */
static void name_ports(struct nb_cause *cause, const uint16_t *ports, size_t count)
{
	char words[256], line[320];
	bool all = word_ports(ports, count, false, words, sizeof(words)) == count;

	if (count == 1)
		snprintf(line, sizeof(line), "; the same goes for port %s", words);
	else
		snprintf(line, sizeof(line), "; the same goes for %zu more ports: %s%s", count,
			 words, all ? "" : ", ...");
	nb_append_text(cause->what, sizeof(cause->what), line);
}

/* The same command, but for the port: once for each of them. */
static void mend_all(struct nb_cause *cause, const char *template, const uint16_t *ports,
		     size_t count)
{
	static const char frame[] = "for port in ; do ; done";
	size_t size = sizeof(cause->mend), taken = sizeof(frame) + strlen(template);
	char words[NB_CAUSE_TEXT];

	if (strcmp(template, cause->mend) == 0 || taken >= size ||
	    word_ports(ports, count, true, words, size - taken) < 2)
		return;
	snprintf(cause->mend, size, "for port in ");
	nb_append_text(cause->mend, size, words);
	nb_append_text(cause->mend, size, "; do ");
	nb_append_text(cause->mend, size, template);
	nb_append_text(cause->mend, size, "; done");
}

static void gather(struct nb_cause_list *list, size_t first, uint16_t *ports)
{
	struct nb_cause *cause = &list->items[first];
	char template[NB_CAUSE_TEXT], other[NB_CAUSE_TEXT];
	size_t kept = first + 1, count = 0;

	make_template(cause->mend, cause->port, template, sizeof(template));
	for (size_t i = kept; i < list->count; i++) {
		const struct nb_cause *one = &list->items[i];
		bool alike = is_alike(cause, one);

		if (alike) {
			make_template(one->mend, one->port, other, sizeof(other));
			alike = strcmp(template, other) == 0;
		}
		if (alike)
			ports[count++] = one->port;
		else if (kept++ != i)
			list->items[kept - 1] = *one;
	}
	list->count = kept;
	if (count == 0)
		return;
	qsort(ports, count, sizeof(*ports), by_number);
	name_ports(cause, ports, count);
	ports[count++] = cause->port;
	qsort(ports, count, sizeof(*ports), by_number);
	mend_all(cause, template, ports, count);
}

bool nb_cause_list_gather(struct nb_cause_list *list)
{
	uint16_t *ports = calloc(list->count + 1, sizeof(*ports));

	if (!ports)
		return false;
	for (size_t i = 0; i < list->count; i++)
		gather(list, i, ports);
	free(ports);
	return true;
}
