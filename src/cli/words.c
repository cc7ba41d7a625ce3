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
	size_t most = nb_preset_count * (1 + NB_PRESET_ALIASES), count = 0, nearest = SIZE_MAX;
	const char **names = calloc(2 * most, sizeof(*names));
	const char **owners = names ? names + most : NULL;

	for (size_t i = 0; names && i < nb_preset_count; i++) {
		const struct nb_preset *preset = &nb_presets[i];

		names[count] = preset->name;
		owners[count++] = preset->name;
		for (size_t j = 0; j < NB_PRESET_ALIASES && preset->aliases[j]; j++) {
			names[count] = preset->aliases[j];
			owners[count++] = preset->name;
		}
	}
	if (names)
		nearest = nb_nearest(word, names, count);
	if (nearest == SIZE_MAX && nb_preset_find(run->words[0]))
		nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			     "unknown service '%.60s': give its port number (the NETWORK comes "
			     "first: nat-bridge %s %.60s %s?)",
			     word, run->command->name, word, run->words[0]);
	else
		nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			     "unknown service '%.60s'%s%s%s: give its port number", word,
			     nearest == SIZE_MAX ? "" : ", did you mean ",
			     nearest == SIZE_MAX ? "" : owners[nearest],
			     nearest == SIZE_MAX ? "" : "? Or");
	free(names);
	return -EINVAL;
}

#define GUESS_SIZE 160

static bool is_port(const char *text)
{
	uint16_t port;

	return nb_port_number_parse(text, &port) == 0;
}

/* "http://localhost:11434/v1" */
static void guess_url(const char *word, char *guess)
{
	const char *host = strstr(word, "://") + 3;
	size_t length = strcspn(host, "/?#");
	char authority[64], *colon;

	snprintf(authority, sizeof(authority), "%.*s", length < 63 ? (int)length : 63, host);
	colon = strrchr(authority, ':');
	if (colon && is_port(colon + 1))
		snprintf(guess, GUESS_SIZE, "give the port alone, without a URL: %s%s", colon + 1,
			 strncmp(word, "udp:", 4) == 0 ? "/udp" : "");
	else
		snprintf(guess, GUESS_SIZE, "give the port alone, without a URL%s",
			 strncmp(word, "http:", 5) == 0	   ? ": 80"
			 : strncmp(word, "https:", 6) == 0 ? ": 443"
							   : "");
}

/* "tcp 80", "tcp/80", "tcp:80" */
static void guess_protocol(const struct nb_run *run, const char *word, char *guess)
{
	const char *port = word[3] ? word + 4 : "80";

	for (size_t i = 1; !word[3] && i < run->word_count; i++)
		if (is_port(run->words[i]))
			port = run->words[i];
	snprintf(guess, GUESS_SIZE, "the protocol stands behind the port: %s/%.3s",
		 is_port(port) ? port : "80", word);
}

/* "postgresql:15432", "15432:postgresql", "ollama/udp": what would be numbers. */
static bool guess_service(const char *word, char *guess)
{
	const struct nb_preset *preset;
	char copy[64], *colon, *slash;
	const char *protocol, *port = NULL;

	if (strlen(word) >= sizeof(copy) || !strpbrk(word, ":/"))
		return false;
	strcpy(copy, word);
	slash = strchr(copy, '/');
	if (slash)
		*slash = '\0';
	protocol = slash ? slash + 1 : "tcp";
	colon = strrchr(copy, ':');
	if (colon)
		*colon = '\0';
	preset = nb_preset_find(copy);
	if (colon && preset)
		port = colon + 1;
	else if (colon) {
		preset = nb_preset_find(colon + 1);
		port = copy;
	}
	if (!preset)
		return false;
	if (preset->port_count != 1 || (port && !is_port(port)) || nb_protocol_parse(protocol) < 0)
		snprintf(guess, GUESS_SIZE, "a service's name stands alone; write port numbers");
	else
		snprintf(guess, GUESS_SIZE, "a service's name stands alone; write %s%s%u%s%s",
			 port ? port : "", port ? ":" : "", preset->ports[0].port, slash ? "/" : "",
			 slash ? protocol : "");
	return true;
}

/* Words that begin like a service's name and are a port, written as another program does. */
static bool guess_port(const struct nb_run *run, const char *word, char *guess)
{
	bool protocol = strncmp(word, "tcp", 3) == 0 || strncmp(word, "udp", 3) == 0;

	if (strstr(word, "://"))
		guess_url(word, guess);
	else if (strstr(word, "::"))
		snprintf(guess, GUESS_SIZE,
			 "IPv6 is no target; make the service listen on 127.0.0.1, too, and write "
			 "the port alone");
	else if (protocol && (!word[3] || word[3] == '/' || word[3] == ':'))
		guess_protocol(run, word, guess);
	else if (strcmp(word, "localhost") == 0)
		snprintf(guess, GUESS_SIZE, "give the port, such as 11434; 127.0.0.1 is meant");
	else if (strncmp(word, "localhost:", 10) == 0)
		snprintf(guess, GUESS_SIZE,
			 "write 127.0.0.1 in place of localhost, or the port alone: %.20s",
			 word + 10);
	else if (guess_service(word, guess))
		return true;
	else if (strpbrk(word, ":/"))
		snprintf(guess, GUESS_SIZE,
			 "a port is written in numbers: 11434, 15432:5432, 53/udp");
	else
		return false;
	return true;
}

static int refuse_guess(struct nb_run *run, const char *word, const char *guess)
{
	return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage", "'%.60s': %s", word,
			    guess);
}

static int unknown_service(struct nb_run *run, const char *word)
{
	const char *network = run->words[0];
	struct nb_port_spec spec;
	char guess[GUESS_SIZE];

	if (nb_port_parse(network, &spec, NULL) == 0 && !strpbrk(word, ":/"))
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "the NETWORK comes first: nat-bridge %s %.60s %s",
				    run->command->name, word, network);
	if (guess_port(run, word, guess))
		return refuse_guess(run, word, guess);
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
		char guess[GUESS_SIZE];

		if (is_service_name(words[i])) {
			r = append_preset(run, &list, words[i]);
			continue;
		}
		r = nb_port_parse(words[i], &spec, &run->error);
		if (r < 0 && guess_service(words[i], guess))
			r = refuse_guess(run, words[i], guess);
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
