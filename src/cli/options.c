/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Options: one table that feeds parsing, help and completions. They may stand
 * before or after the command word and between its arguments.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define DEFAULT_WAIT_S 10

enum kind {
	OPTION_FLAG,
	OPTION_TEXT,
	OPTION_WHERE, /* its argument may be left out; otherwise it stands behind '=' */
	OPTION_DURATION,
	OPTION_WAIT,
	OPTION_WORDS, /* may be given again */
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;	  /* 0: none */
	enum kind kind;
	size_t offset;	      /* in struct nb_options */
	const char *argument; /* NULL: takes none */
	const char *commands; /* " add apply ", NULL: all */
	const char *help;
};

#define FIELD(name) offsetof(struct nb_options, name)

static const struct option_row rows[] = {
	{ "for", 0, OPTION_DURATION, FIELD(duration), "TIME", " add ",
	  "end the mapping after TIME (90s, 15m, 2h, 7d)" },
	{ "runtime", 0, OPTION_FLAG, FIELD(runtime), NULL, " add ",
	  "write no rule file; gone after flush or a reboot" },
	{ "replace", 0, OPTION_FLAG, FIELD(replace), NULL, " add ",
	  "change the target of a mapping that exists" },
	{ "force", 0, OPTION_FLAG, FIELD(force), NULL, " add ",
	  "even if it breaks somebody's own DNAT to 127.0.0.0/8" },
	{ "allow-external", 0, OPTION_FLAG, FIELD(external), NULL, " add ",
	  "even on a network that others than containers can reach" },
	{ "except", 0, OPTION_WORDS, FIELD(except), "NETWORK", " add ",
	  "leave NETWORK out of a pattern; may be repeated" },
	{ "all", 0, OPTION_FLAG, FIELD(all), NULL, " remove ", "every mapping of NETWORK" },
	{ "all-networks", 0, OPTION_FLAG, FIELD(all_networks), NULL, " remove ",
	  "every mapping of every network" },
	{ "strict", 0, OPTION_FLAG, FIELD(strict), NULL, " add apply check ",
	  "a bridge that does not exist now is a failure" },
	{ "keep-going", 0, OPTION_FLAG, FIELD(keep_going), NULL, " apply ",
	  "apply the valid files, name the others (exit status 4)" },
	{ "log", 0, OPTION_WHERE, FIELD(log), "WHERE", " watch ",
	  "log who connects: to standard output, journal or FILE" },
	{ "log-accounting", 0, OPTION_FLAG, FIELD(log_accounting), NULL, " watch ",
	  "let the kernel count bytes and note times meanwhile" },
	{ "rate", 0, OPTION_FLAG, FIELD(rate), NULL, " status ",
	  "look twice, a second apart: packets and bytes a second" },
	{ "prometheus", 0, OPTION_FLAG, FIELD(prometheus), NULL, " status ",
	  "metrics for node_exporter's textfile collector" },
	{ "fix", 0, OPTION_FLAG, FIELD(fix), NULL, " doctor ",
	  "mend what is ours alone to mend, as 'apply' does" },
	{ "report", 0, OPTION_TEXT, FIELD(report), "FILE", " doctor ",
	  "write a file for a bug report, with names masked" },
	{ "payload", 0, OPTION_FLAG, FIELD(payload), NULL, " doctor verify ",
	  "send services something that they answer" },
	{ "dry-run", 'n', OPTION_FLAG, FIELD(dry_run), NULL, NULL,
	  "change nothing; print what would be done, for nft" },
	{ "wait", 'w', OPTION_WAIT, FIELD(wait), "TIME", NULL,
	  "wait so long for another nat-bridge (default 10s)" },
	{ "json", 'j', OPTION_FLAG, FIELD(json), NULL, NULL,
	  "one JSON object on standard output, also on failure" },
	{ "quiet", 'q', OPTION_FLAG, FIELD(quiet), NULL, NULL,
	  "print nothing but warnings and errors" },
	{ "rules", 0, OPTION_TEXT, FIELD(rules), "DIR", NULL,
	  "rule files (default " NB_DEFAULT_RULES ")" },
	{ "config", 0, OPTION_TEXT, FIELD(config), "FILE", NULL,
	  "configuration (default " NB_DEFAULT_CONFIG ")" },
	{ "help", 'h', OPTION_FLAG, FIELD(help), NULL, NULL, "print this help" },
	{ "version", 'V', OPTION_FLAG, FIELD(version), NULL, NULL, "print the version" },
};
#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static bool is_taken_by(const struct option_row *row, const struct nb_command *command)
{
	char word[32];

	if (!row->commands || !command)
		return true;
	snprintf(word, sizeof(word), " %s ", command->name);
	return strstr(row->commands, word) != NULL;
}

const size_t nb_option_count = ROW_COUNT;

bool nb_option_get(size_t i, const struct nb_command *command, struct nb_option_info *ret)
{
	*ret = (struct nb_option_info){
		.name = rows[i].name,
		.letter = rows[i].letter,
		.argument = rows[i].argument,
		.repeats = rows[i].kind == OPTION_WORDS,
		.optional = rows[i].kind == OPTION_WHERE,
		.help = rows[i].help,
	};
	return is_taken_by(&rows[i], command);
}

static __attribute__((format(printf, 2, 3))) int usage(struct nb_run *run, const char *format, ...)
{
	char message[400];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
			    "%s (try: nat-bridge %s%s--help)", message,
			    run->command ? run->command->name : "", run->command ? " " : "");
}

static const struct option_row *find_row(const char *name, size_t length)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (strlen(rows[i].name) == length && strncmp(rows[i].name, name, length) == 0)
			return &rows[i];
	return NULL;
}

static const struct option_row *find_letter(char letter)
{
	for (size_t i = 0; i < ROW_COUNT; i++)
		if (rows[i].letter && rows[i].letter == letter)
			return &rows[i];
	return NULL;
}

static int unknown(struct nb_run *run, const char *word)
{
	const char *names[ROW_COUNT];
	size_t nearest;

	for (size_t i = 0; i < ROW_COUNT; i++)
		names[i] = rows[i].name;
	if (strcmp(word, "-v") == 0)
		return usage(run, "unknown option -v; did you mean -V?");
	if (strcmp(word, "-p") == 0 || strncmp(word, "--port", 6) == 0)
		return usage(run,
			     "unknown option %.100s; a port is a plain word: nat-bridge add "
			     "NETWORK 80",
			     word);
	nearest = strncmp(word, "--", 2) == 0 ? nb_nearest(word + 2, names, ROW_COUNT) : SIZE_MAX;
	if (nearest == SIZE_MAX)
		return usage(run, "unknown option %.100s", word);
	return usage(run, "unknown option %.100s; did you mean --%s?", word, rows[nearest].name);
}

static int parse_wait(const char *value, int64_t *ret)
{
	char with_unit[32];

	if (strcmp(value, "0") == 0 || strcmp(value, "0s") == 0) {
		*ret = 0;
		return 0;
	}
	if (nb_duration_parse(value, ret, NULL) == 0)
		return 0;
	snprintf(with_unit, sizeof(with_unit), "%.20ss", value);
	return nb_duration_parse(with_unit, ret, NULL);
}

static void set_flag(struct nb_run *run, const struct option_row *row)
{
	*(bool *)((char *)&run->options + row->offset) = true;
}

static int append_word(struct nb_run *run, const struct option_row *row, struct nb_word_list *list,
		       const char *value)
{
	/* an empty one says: none */
	if (!*value && !run->options.replace)
		return usage(run, "--%s needs an argument, or --replace in front of an empty one",
			     row->name);
	if (list->count == NB_WORDS_MAX)
		return usage(run, "--%s is given more than %d times", row->name, NB_WORDS_MAX);
	list->items[list->count++] = value;
	return 0;
}

static int set_value(struct nb_run *run, const struct option_row *row, const char *value)
{
	void *field = (char *)&run->options + row->offset;

	switch (row->kind) {
	case OPTION_FLAG:
		set_flag(run, row);
		return 0;
	case OPTION_WHERE:
	case OPTION_TEXT:
		if (!*value)
			return usage(run, "--%s needs a path", row->name);
		*(const char **)field = value;
		return 0;
	case OPTION_WORDS:
		return append_word(run, row, field, value);
	case OPTION_DURATION:
		return nb_duration_parse(value, field, &run->error);
	case OPTION_WAIT:
		if (parse_wait(value, field) < 0)
			return usage(run, "--wait takes a time such as 10s, not '%s'", value);
		return 0;
	}
	return -EINVAL;
}

static int parse_option(struct nb_run *run, int argc, char **argv, int *position, bool *given);

/* "-nj" is "-n -j", "-nw5" is "-n -w 5". */
static int parse_letters(struct nb_run *run, int argc, char **argv, int *position, bool *given,
			 const struct option_row *row)
{
	const char *word = argv[*position];
	char rest[64] = "-";
	char *one[2] = { rest, *position + 1 < argc ? argv[*position + 1] : NULL };
	int first = 0, r;

	set_flag(run, row);
	given[row - rows] = true;
	if (strlen(word + 2) >= sizeof(rest) - 1)
		return unknown(run, word);
	strcpy(rest + 1, word + 2);
	r = parse_option(run, one[1] ? 2 : 1, one, &first, given);
	*position += first;
	return r;
}

/*
 * One option word at argv[*position]; moves the position over an argument of
 * its own, and notes in @given, by row, what it was.
 */
static int parse_option(struct nb_run *run, int argc, char **argv, int *position, bool *given)
{
	const char *word = argv[*position];
	const struct option_row *row;
	const char *value = NULL;

	if (word[1] == '-') {
		size_t length = strcspn(word + 2, "=");

		row = find_row(word + 2, length);
		if (word[2 + length] == '=')
			value = word + 2 + length + 1;
	} else {
		/* letters without an argument may stand together, and one with its argument */
		row = find_letter(word[1]);
		if (row && row->kind == OPTION_FLAG && word[2])
			return parse_letters(run, argc, argv, position, given, row);
		if (row && word[2])
			value = word + 2;
	}
	if (!row)
		return unknown(run, word);
	given[row - rows] = true;
	if (row->kind == OPTION_FLAG) {
		if (value)
			return usage(run, "--%s takes no argument", row->name);
		set_flag(run, row);
		return 0;
	}
	if (!value && row->kind == OPTION_WHERE)
		value = "-";
	if (value)
		return set_value(run, row, value);
	value = *position + 1 < argc ? argv[*position + 1] : NULL;
	if (!value || strncmp(value, "--", 2) == 0)
		return usage(run, "--%s needs an argument%s%.60s", row->name, value ? ", not " : "",
			     value ? value : "");
	(*position)++;
	return set_value(run, row, value);
}

static int take_command(struct nb_run *run, const char *word)
{
	const char *names[32];
	size_t nearest, count = 0;

	run->command = nb_command_find(word);
	if (run->command)
		return 0;
	/* what many programs call their options; "help add" is "add --help" */
	if (strcmp(word, "help") == 0) {
		run->options.help = true;
		return 0;
	}
	if (strcmp(word, "version") == 0) {
		run->options.version = true;
		return 0;
	}
	for (size_t i = 0; i < nb_command_count; i++)
		if (!nb_commands[i].hidden)
			names[count++] = nb_commands[i].name;
	for (size_t i = 0; i < nb_command_count; i++)
		for (size_t j = 0; nb_commands[i].aliases[j]; j++)
			names[count++] = nb_commands[i].aliases[j];
	nearest = nb_nearest(word, names, count);
	if (nearest != SIZE_MAX)
		return nb_error_set(&run->error, NB_STATUS_USAGE, EINVAL, "usage",
				    "unknown command '%.100s'; did you mean %s?", word,
				    names[nearest]);
	return usage(run, "unknown command '%.100s'", word);
}

/* --json is looked for first, so that also a wrong word before it is reported as JSON. */
static void find_json(struct nb_run *run, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0 ||
		    (argv[i][0] == '-' && strspn(argv[i] + 1, "njq") == strlen(argv[i] + 1) &&
		     strchr(argv[i], 'j')))
			run->options.json = true;
}

int nb_options_parse(struct nb_run *run, int argc, char **argv)
{
	bool given[ROW_COUNT] = { false };
	bool ended = false;

	run->options.wait = DEFAULT_WAIT_S;
	run->options.rules = NB_DEFAULT_RULES;
	run->options.config = NB_DEFAULT_CONFIG;
	run->words = argv;
	find_json(run, argc, argv);

	for (int i = 1; i < argc; i++) {
		char *word = argv[i];
		int r = 0;

		if (!ended && strcmp(word, "--") == 0) {
			ended = true;
		} else if (!ended && word[0] == '-' && word[1]) {
			r = parse_option(run, argc, argv, &i, given);
		} else if (!run->command) {
			r = take_command(run, word);
		} else {
			/* i is always ahead of the word count: nothing unread is overwritten */
			run->words[run->word_count++] = word;
		}
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ROW_COUNT && run->command; i++) {
		if (!given[i] || is_taken_by(&rows[i], run->command))
			continue;
		return usage(run, "%s does not take --%s", run->command->name, rows[i].name);
	}
	return 0;
}

static void print_options(const struct nb_command *command, FILE *out)
{
	for (size_t i = 0; i < ROW_COUNT; i++) {
		const struct option_row *row = &rows[i];
		char name[40];

		if (command ? !is_taken_by(row, command) : row->commands != NULL)
			continue;
		if (row->kind == OPTION_WHERE)
			snprintf(name, sizeof(name), "--%s[=%s]", row->name, row->argument);
		else
			snprintf(name, sizeof(name), "--%s%s%s", row->name,
				 row->argument ? " " : "", row->argument ? row->argument : "");
		if (row->letter)
			fprintf(out, "  -%c, %-17s %s\n", row->letter, name, row->help);
		else
			fprintf(out, "      %-17s %s\n", name, row->help);
	}
}

static void print_services(FILE *out)
{
	size_t column = 80;

	fputs("\nServices:", out);
	for (size_t i = 0; i < nb_preset_count; i++) {
		const struct nb_preset *preset = &nb_presets[i];
		char names[(1 + NB_PRESET_ALIASES) * 36];
		int length = snprintf(names, sizeof(names), " %s", preset->name);

		for (size_t j = 0; j < NB_PRESET_ALIASES && preset->aliases[j]; j++)
			length += snprintf(names + length, sizeof(names) - (size_t)length, "%s%s",
					   j ? ", " : " (", preset->aliases[j]);
		if (preset->aliases[0])
			length += snprintf(names + length, sizeof(names) - (size_t)length, ")");
		if (column + (size_t)length > 78) {
			fputs("\n ", out);
			column = 1;
		}
		fputs(names, out);
		column += (size_t)length;
	}
	fputc('\n', out);
}

void nb_options_print_help(const struct nb_command *command, FILE *out)
{
	if (command) {
		fprintf(out, "Usage: nat-bridge %s%s%s [OPTION...]\n\n%s: %s.\n", command->name,
			command->synopsis[0] ? " " : "", command->synopsis, command->name,
			command->summary);
		for (size_t i = 0; command->aliases[i]; i++)
			fprintf(out, "%s%s", i ? ", " : "Also: ", command->aliases[i]);
		fprintf(out, "%s%s%s\nOptions:\n", command->aliases[0] ? "\n" : "",
			command->description[0] ? "\n" : "", command->description);
		print_options(command, out);
		if (command->run == nb_command_add)
			print_services(out);
		return;
	}
	fputs("Usage: nat-bridge COMMAND [ARGUMENT...] [OPTION...]\n\n"
	      "Let containers reach services that listen on the host's 127.0.0.1.\n\n"
	      "Commands:\n",
	      out);
	for (size_t i = 0; i < nb_command_count; i++)
		if (!nb_commands[i].hidden)
			fprintf(out, "  %-8s %s\n", nb_commands[i].name, nb_commands[i].summary);
	fputs("\nOptions of every command:\n", out);
	print_options(NULL, out);
	fputs("\nnat-bridge COMMAND --help says more. Manual: man 8 nat-bridge\n", out);
}
