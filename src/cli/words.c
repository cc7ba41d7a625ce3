/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PORT words of the command line, services by name included. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool is_service_name(const char *word)
{
	return (word[0] >= 'a' && word[0] <= 'z') || (word[0] >= 'A' && word[0] <= 'Z');
}

static int name_service(struct nb_run *run, const char *word)
{
	const char **names = calloc(nb_preset_count + 1, sizeof(*names));
	size_t nearest = SIZE_MAX;

	for (size_t i = 0; names && i < nb_preset_count; i++)
		names[i] = nb_presets[i].name;
	if (names)
		nearest = nb_nearest(word, names, nb_preset_count);
	nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
		     "unknown service '%.60s'%s%s%s: give its port number", word,
		     nearest == SIZE_MAX ? "" : ", did you mean ",
		     nearest == SIZE_MAX ? "" : names[nearest], nearest == SIZE_MAX ? "" : "? Or");
	free(names);
	return -EINVAL;
}

/* Words that begin like a service's name and are a port, written as another program does. */
static const char *guess_port(const char *word, char *buffer, size_t size)
{
	const char *port = strrchr(word, ':'), *protocol = NULL;

	if (strncmp(word, "tcp", 3) == 0 || strncmp(word, "udp", 3) == 0)
		protocol = strncmp(word, "tcp", 3) == 0 ? "tcp" : "udp";
	if (strstr(word, "::"))
		snprintf(buffer, size,
			 "IPv6 is no target; make the service listen on 127.0.0.1, "
			 "too, and write the port alone");
	else if (protocol && word[3] == '\0')
		snprintf(buffer, size, "the protocol stands behind the port: 80/%s", protocol);
	else if (protocol && (word[3] == '/' || word[3] == ':'))
		snprintf(buffer, size, "the protocol stands behind the port: %.20s/%s", word + 4,
			 protocol);
	else if (strstr(word, "://"))
		snprintf(buffer, size, "give the port alone, without a URL%s%.6s",
			 port && port[1] != '/' ? ": " : "",
			 port && port[1] != '/' ? port + 1 : "");
	else if (strncmp(word, "localhost:", 10) == 0)
		snprintf(buffer, size,
			 "write 127.0.0.1 in place of localhost, or the port alone: "
			 "%.20s",
			 word + 10);
	else if (strpbrk(word, ":/"))
		snprintf(buffer, size,
			 "a service's name stands alone; with another port or "
			 "protocol write numbers: 15432:5432, 53/udp");
	else
		return NULL;
	return buffer;
}

static int unknown_service(struct nb_run *run, const char *word)
{
	const char *network = run->words[0];
	char guess[160];

	if (network[0] >= '0' && network[0] <= '9' &&
	    network[strspn(network, "0123456789")] == '\0')
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "the NETWORK comes first: nat-bridge %s %.60s %s",
				    run->command->name, word, network);
	if (guess_port(word, guess, sizeof(guess)))
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage", "'%.60s': %s",
				    word, guess);
	return name_service(run, word);
}

struct spec_list {
	struct nb_port_spec *items;
	size_t count;
	size_t capacity;
};

static int append(struct nb_run *run, struct spec_list *list, const struct nb_port_spec *spec)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 8;
		struct nb_port_spec *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return nb_out_of_memory(run);
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *spec;
	return 0;
}

static int compare_specs(const void *a, const void *b)
{
	const struct nb_port_spec *left = a, *right = b;

	if (left->protocol != right->protocol)
		return left->protocol < right->protocol ? -1 : 1;
	return (left->port > right->port) - (left->port < right->port);
}

/* The same word twice is one; one port with two targets is a mistake. */
static int merge(struct nb_run *run, struct spec_list *list)
{
	size_t kept = 0;

	qsort(list->items, list->count, sizeof(*list->items), compare_specs);
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_port_spec *spec = &list->items[i];

		if (kept == 0 || compare_specs(&list->items[kept - 1], spec) != 0)
			list->items[kept++] = *spec;
		else if (!nb_target_equal(&list->items[kept - 1].target, &spec->target))
			return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
					    "port %u/%s is given twice, with different targets",
					    spec->port, nb_protocol_name(spec->protocol));
	}
	list->count = kept;
	return 0;
}

static int append_preset(struct nb_run *run, struct spec_list *list, const char *word)
{
	const struct nb_preset *preset = nb_preset_find(word);
	int r = 0;

	if (!preset)
		return unknown_service(run, word);
	for (size_t i = 0; r == 0 && i < preset->port_count; i++) {
		const struct nb_port_spec spec = {
			.port = preset->ports[i].port,
			.protocol = preset->ports[i].protocol,
			.target = { .address = INADDR_LOOPBACK, .port = preset->ports[i].port },
		};

		r = append(run, list, &spec);
	}
	return r;
}

int nb_words_to_specs(struct nb_run *run, char **words, size_t count, struct nb_port_spec **ret,
		      size_t *ret_count)
{
	struct spec_list list = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct nb_port_spec spec;

		if (is_service_name(words[i])) {
			r = append_preset(run, &list, words[i]);
			continue;
		}
		r = nb_port_parse(words[i], &spec, &run->error);
		if (r == 0)
			r = append(run, &list, &spec);
	}
	if (r == 0 && list.count)
		r = merge(run, &list);
	if (r < 0) {
		free(list.items);
		return r;
	}
	*ret = list.items;
	*ret_count = list.count;
	return 0;
}

struct nb_mapping nb_spec_to_mapping(const struct nb_port_spec *spec,
				     const struct nb_network *network)
{
	return (struct nb_mapping){
		.network = *network,
		.protocol = spec->protocol,
		.port = spec->port,
		.target = spec->target,
		.enabled = true,
		.file = SIZE_MAX,
	};
}
