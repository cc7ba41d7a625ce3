/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * nat-bridge complete: what the last word of a command line can become.
 *
 * The scripts in contrib/completions call it for each TAB, so that they know nothing by
 * themselves: commands and options come from their tables, names from what is there. It
 * changes nothing, waits for nobody but a hanging engine, and says nothing when it fails: what
 * cannot be read is not offered.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../model/text.h"
#include "cli.h"

/* Words for the shell instead of candidates. */
#define WANT_DIRECTORIES ":directories"
#define WANT_FILES	 ":files"

/* The command line as far as it is typed. */
struct line {
	struct nb_run *run;
	const struct nb_command *command;
	const char *words[64]; /* behind the command, without options */
	size_t word_count;
	bool given[64];			   /* options, by row */
	bool ended;			   /* behind "--" */
	bool lost;			   /* no such command */
	struct nb_option_info argument_of; /* the option whose argument the last word is */
	char *prefix;			   /* of the last word: "--rules=", else ""; owned */
	const char *last;		   /* the rest of it: what is to be completed */
	char **offered;
	size_t offered_count;
};

/* One line of output, if the last word can become it, and once. */
static void offer(struct line *line, const char *value, const char *description)
{
	char text[256];
	char **grown;

	if (strncmp(value, line->last, strlen(line->last)) != 0)
		return;
	for (size_t i = 0; i < line->word_count; i++)
		if (strcmp(line->words[i], value) == 0)
			return;
	for (size_t i = 0; i < line->offered_count; i++)
		if (strcmp(line->offered[i], value) == 0)
			return;
	grown = realloc(line->offered, (line->offered_count + 1) * sizeof(*grown));
	if (!grown)
		return;
	line->offered = grown;
	grown[line->offered_count] = strdup(value);
	if (!grown[line->offered_count])
		return;
	line->offered_count++;
	nb_copy_line(text, sizeof(text), description);
	printf("%s%s\t%s\n", line->prefix, value, text);
}

static void offer_commands(struct line *line)
{
	for (size_t i = 0; i < nb_command_count; i++) {
		const struct nb_command *command = &nb_commands[i];

		if (command->hidden)
			continue;
		offer(line, command->name, command->summary);
		/* another name of what is offered already is only in the way */
		for (size_t j = 0; *line->last && command->aliases[j]; j++)
			offer(line, command->aliases[j], command->summary);
	}
}

static void offer_options(struct line *line)
{
	for (size_t i = 0; i < nb_option_count; i++) {
		struct nb_option_info option;
		char word[40];

		if (!nb_option_get(i, line->command, &option) ||
		    (line->given[i] && !option.repeats))
			continue;
		snprintf(word, sizeof(word), "--%s", option.name);
		offer(line, word, option.help);
	}
}

/* Networks of the engines: bare, and with their prefix if that is being typed. */
static void offer_engines(struct line *line, bool patterns)
{
	for (int engine = NB_ENGINE_DOCKER; engine < NB_ENGINE_COUNT; engine++) {
		const struct nb_engine_answer *answer = nb_ask_engine(line->run,
								      (enum nb_engine)engine);
		char word[NB_NETWORK_SIZE], description[64];

		for (size_t i = 0; answer && i < answer->count; i++) {
			const struct nb_engine_network *network = &answer->networks[i];

			if (!network->bridge[0])
				continue;
			snprintf(description, sizeof(description), "network of %s, %s",
				 nb_engine_title((enum nb_engine)engine), network->bridge);
			offer(line, network->name, description);
			snprintf(word, sizeof(word), "%s:%s",
				 nb_engine_name((enum nb_engine)engine), network->name);
			if (strchr(line->last, ':'))
				offer(line, word, description);
		}
		if (!answer || !answer->count || !patterns || !strchr(line->last, ':'))
			continue;
		snprintf(word, sizeof(word), "%s:*", nb_engine_name((enum nb_engine)engine));
		offer(line, word, "every network of it, also later ones");
	}
}

static void offer_bridges(struct line *line)
{
	struct nb_link_list links = { 0 };

	if (nb_link_dump(line->run->nl, &links, &line->run->error) < 0)
		return;
	for (size_t i = 0; i < links.count; i++) {
		const struct nb_link *link = &links.items[i];
		char word[NB_NETWORK_SIZE];

		if (strcmp(link->kind, "bridge") != 0)
			continue;
		offer(line, link->name, "bridge");
		snprintf(word, sizeof(word), "iface:%s", link->name);
		if (strchr(line->last, ':'))
			offer(line, word, "bridge");
	}
	nb_link_list_clear(&links);
}

static void offer_services(struct line *line)
{
	for (size_t i = 0; i < nb_preset_count; i++) {
		const struct nb_preset *preset = &nb_presets[i];
		char description[128];

		snprintf(description, sizeof(description), "%.90s, %u/%s", preset->title,
			 preset->ports[0].port, nb_protocol_name(preset->ports[0].protocol));
		offer(line, preset->name, description);
		for (size_t j = 0; *line->last && j < NB_PRESET_ALIASES && preset->aliases[j]; j++)
			offer(line, preset->aliases[j], description);
	}
}

/* A mapping that is stored: its network, or of the network that is typed its port. */
static void offer_stored(struct line *line, const struct nb_mapping *mapping)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], word[16], text[64];

	nb_network_format(&mapping->network, network);
	if (line->word_count == 0) {
		offer(line, strchr(line->last, ':') ? network : mapping->network.name, network);
		return;
	}
	if (strcmp(line->words[0], network) != 0 &&
	    strcmp(line->words[0], mapping->network.name) != 0)
		return;
	snprintf(word, sizeof(word), "%u/%s", mapping->port, nb_protocol_name(mapping->protocol));
	snprintf(text, sizeof(text), "leads to %s", nb_target_format(&mapping->target, target));
	offer(line, word, text);
}

/* What is in the kernel alone; for root. */
static void offer_live(struct line *line)
{
	struct nb_run *run = line->run;
	struct nb_state state;

	if (nb_state_read(run->nl, run->config.mark, NULL, 0, &state, &run->error) == 0) {
		for (size_t i = 0; i < state.targets.count; i++) {
			const struct nb_element *element = &state.targets.items[i];
			struct nb_mapping mapping = {
				.target = element->target,
				.port = element->port,
				.protocol = element->protocol,
			};

			if (nb_comment_is_runtime(element->comment, &mapping.network,
						  &mapping.external))
				offer_stored(line, &mapping);
		}
	}
	nb_state_clear(&state);
}

static void offer_all_stored(struct line *line)
{
	struct nb_run *run = line->run;

	if (nb_rules_read(run->options.rules, &run->rules, &run->warnings, &run->error) == 0)
		for (size_t i = 0; i < run->rules.mappings.count; i++)
			offer_stored(line, &run->rules.mappings.items[i]);
	offer_live(line);
}

/* Behind --all nothing is missing. */
static bool is_given(const struct line *line, const char *name)
{
	for (size_t i = 0; i < nb_option_count; i++) {
		struct nb_option_info option;

		nb_option_get(i, NULL, &option);
		if (strcmp(option.name, name) == 0)
			return line->given[i];
	}
	return false;
}

static void offer_words(struct line *line)
{
	int (*command)(struct nb_run * run) = line->command->run;
	bool all = is_given(line, "all-networks") || (is_given(line, "all") && line->word_count);

	if (command == nb_command_add && line->word_count == 0) {
		offer_engines(line, true);
		offer_bridges(line);
	} else if (command == nb_command_add) {
		offer_services(line);
	} else if (((command == nb_command_list || command == nb_command_status) &&
		    line->word_count == 0) ||
		   (command == nb_command_doctor && line->word_count < 2) ||
		   (command == nb_command_remove && !all)) {
		offer_all_stored(line);
	}
}

static void offer_arguments(struct line *line)
{
	static const char *const times[] = { "15m", "1h", "2h", "8h", "1d", "7d" };
	const char *name = line->argument_of.name;

	if (strcmp(name, "rules") == 0)
		puts(WANT_DIRECTORIES);
	else if (strcmp(name, "config") == 0)
		puts(WANT_FILES);
	else if (strcmp(name, "except") == 0)
		offer_engines(line, false);
	else if (strcmp(name, "for") == 0)
		for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
			offer(line, times[i], "the kernel ends it then");
	else if (strcmp(name, "wait") == 0)
		offer(line, "0", "not at all");
	else if (strcmp(name, "log") == 0) {
		offer(line, "journal", "fields NAT_BRIDGE_*");
		puts(WANT_FILES);
	}
}

/* The row of an option word, or SIZE_MAX; *@value is what stands behind "=" or the letter. */
static size_t find_option(const char *word, const char **value)
{
	size_t length = strcspn(word, "=");

	*value = word[length] == '=' ? word + length + 1 : NULL;
	for (size_t i = 0; i < nb_option_count; i++) {
		struct nb_option_info option;

		nb_option_get(i, NULL, &option);
		if (word[1] == '-' && strlen(option.name) == length - 2 &&
		    strncmp(option.name, word + 2, length - 2) == 0)
			return i;
		if (word[1] != '-' && option.letter && word[1] == option.letter) {
			*value = word[2] ? word + 2 : NULL;
			return i;
		}
	}
	return SIZE_MAX;
}

/* Where the stored mappings are, if the command line names another place. */
static void take_path(struct line *line, const struct nb_option_info *option, const char *value)
{
	if (strcmp(option->name, "rules") == 0)
		line->run->options.rules = value;
	else if (strcmp(option->name, "config") == 0)
		line->run->options.config = value;
}

/* An option that is typed whole. Returns how many words it takes beside its own. */
static size_t take_option(struct line *line, const char *word, const char *next, bool next_is_last)
{
	const char *value;
	size_t row = find_option(word, &value);
	struct nb_option_info option;

	if (row == SIZE_MAX)
		return 0;
	nb_option_get(row, NULL, &option);
	line->given[row] = true;
	if (!option.argument)
		return 0;
	if (value) {
		take_path(line, &option, value);
		return 0;
	}
	if (option.optional)
		return 0;
	if (next_is_last)
		line->argument_of = option;
	else if (next)
		take_path(line, &option, next);
	return 1;
}

static void read_line(struct line *line, char **words, size_t count)
{
	const char *value;
	size_t row;

	for (size_t i = 0; i + 1 < count; i++) {
		const char *word = words[i];

		if (!line->ended && strcmp(word, "--") == 0)
			line->ended = true;
		else if (!line->ended && word[0] == '-' && word[1])
			i += take_option(line, word, words[i + 1], i + 2 == count);
		else if (!line->command && !line->lost)
			line->lost = !(line->command = nb_command_find(word));
		else if (line->word_count < sizeof(line->words) / sizeof(line->words[0]))
			line->words[line->word_count++] = word;
	}
	line->last = count ? words[count - 1] : "";
	line->prefix = strdup("");
	if (line->ended || line->argument_of.name || strncmp(line->last, "--", 2) != 0)
		return;
	row = find_option(line->last, &value);
	if (row == SIZE_MAX || !value)
		return;
	/* "--rules=/etc": what is offered begins with all of it */
	nb_option_get(row, NULL, &line->argument_of);
	free(line->prefix);
	line->prefix = strndup(line->last, (size_t)(value - line->last));
	line->last = value;
}

int nb_command_complete(struct nb_run *run)
{
	struct line line = { .run = run };

	read_line(&line, run->words, run->word_count);
	run->config.mark = NB_MARK_DEFAULT;
	nb_config_read(run->options.config, &run->config, &run->error);
	run->nl = nb_netlink_new();
	if (run->nl && line.prefix) {
		if (line.argument_of.name)
			offer_arguments(&line);
		else if (!line.ended && line.last[0] == '-')
			offer_options(&line);
		else if (!line.command && !line.lost)
			offer_commands(&line);
		else if (line.command)
			offer_words(&line);
	}
	for (size_t i = 0; i < line.offered_count; i++)
		free(line.offered[i]);
	free(line.offered);
	free(line.prefix);
	nb_print_flush(NB_STATUS_OK);
	return NB_STATUS_OK;
}
