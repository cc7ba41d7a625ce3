/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the commands print: text for people, one JSON object for programs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "../model/text.h"
#include "cli.h"
#include "json.h"
#include "screen.h"

int nb_row_append(struct nb_row_list *list, const struct nb_row *row)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 16;
		struct nb_row *items = realloc(list->items, capacity * sizeof(*items));

		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *row;
	return 0;
}

void nb_report_clear(struct nb_report *report)
{
	free(report->mappings.items);
	free(report->pending.items);
	free(report->removed.items);
	free(report->script);
	memset(report, 0, sizeof(*report));
}

static int finish(int status, bool changed)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	fprintf(stderr, "nat-bridge: cannot write the output: %s%s\n", strerror(errno),
		changed ? "; the change itself was made ('nat-bridge list' shows it)" : "");
	return status == NB_STATUS_OK ? NB_STATUS_FAILED : status;
}

int nb_print_flush(int status)
{
	return finish(status, false);
}

void nb_print_warnings(const struct nb_run *run)
{
	for (size_t i = 0; i < run->warnings.count; i++)
		fprintf(stderr, "nat-bridge: warning: %s\n", run->warnings.items[i]);
}

void nb_print_error(const struct nb_error *error)
{
	const char *slash = strrchr(error->file, '/');
	const char *name = slash ? slash + 1 : error->file;
	char place[sizeof(error->file) + 16];

	if (error->line)
		snprintf(place, sizeof(place), "%s:%u", name, error->line);
	else
		snprintf(place, sizeof(place), "%s", name);
	fputs("nat-bridge: ", stderr);
	/* "/etc/passwd belongs to ..." names it well enough */
	if (error->file[0] && !strstr(error->message, *name && error->line ? place : error->file)) {
		fprintf(stderr, "%.*s%s: ", (int)(name - error->file), error->file, place);
		if (error->key[0])
			fprintf(stderr, "%s: ", error->key);
	}
	fprintf(stderr, "%s\n", error->message);
}

/* One word of an object, for programs that always say --json. */
static int print_text(const struct nb_run *run, const char *key, const char *text)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, key, text);
	nb_json_print(run, object);
	return nb_print_flush(NB_STATUS_OK);
}

int nb_print_version(struct nb_run *run, const char *version)
{
	if (run->options.json)
		return print_text(run, "version", version);
	printf("nat-bridge %s\n", version);
	return nb_print_flush(NB_STATUS_OK);
}

int nb_print_help(struct nb_run *run)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream;
	int status;

	if (!run->options.json) {
		nb_options_print_help(run->command, stdout);
		return nb_print_flush(NB_STATUS_OK);
	}
	stream = open_memstream(&text, &size);
	if (!stream) {
		nb_out_of_memory(run);
		return nb_print_failure(run);
	}
	nb_options_print_help(run->command, stream);
	fclose(stream);
	status = print_text(run, "help", text);
	free(text);
	return status;
}

/* The keys that a program expects, with nothing in them. */
static void add_nothing(cJSON *object, const struct nb_run *run)
{
	/* before the command word is known it may be any, so most likely one that changes something */
	const struct nb_command *command = run->command ? run->command : nb_command_find("apply");

	if (command->truth)
		cJSON_AddBoolToObject(object, command->truth,
				      run->changed && strcmp(command->truth, "changed") == 0);
	for (size_t i = 0; command->lists[i]; i++)
		cJSON_AddArrayToObject(object, command->lists[i]);
}

int nb_print_failure(struct nb_run *run)
{
	cJSON *object;

	nb_journal_failure(run);
	nb_print_warnings(run);
	nb_print_error(&run->error);
	if (run->options.json) {
		object = cJSON_CreateObject();
		add_nothing(object, run);
		nb_json_add_warnings(object, run);
		nb_json_add_error(object, &run->error);
		nb_json_print(run, object);
	}
	return nb_print_flush(run->error.status ? run->error.status : NB_STATUS_FAILED);
}

void nb_print_note(const struct nb_run *run, const char *text)
{
	if (run->options.json)
		print_text(run, "note", text);
	else
		fprintf(stderr, "nat-bridge: %s\n", text);
}

static void print_change_row(const struct nb_row *row, const char *verb)
{
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], until[NB_TIME_SIZE];
	const struct nb_mapping *mapping = row->mapping;

	printf("%s %s %u/%s -> %s", verb, nb_network_format(&mapping->network, network),
	       mapping->port, nb_protocol_name(mapping->protocol),
	       nb_target_format(&mapping->target, target));
	if (row->bridge && nb_network_is_several(&mapping->network))
		printf(" on %s", row->bridge);
	if (mapping->until)
		printf(" until %s", nb_time_format(mapping->until, until));
	if (mapping->runtime)
		fputs(" (runtime)", stdout);
	putchar('\n');
}

/* More lines than fit a screen are only counted. */
static void print_change_text(const struct nb_report *report)
{
	const struct {
		const struct nb_row_list *rows;
		const char *verb;
	} parts[] = {
		{ &report->mappings, report->verb },
		{ &report->removed, "removed" },
		{ &report->pending, "pending" },
	};
	size_t total = 0;

	if (!report->changed) {
		printf("unchanged: %s\n", report->mappings.count == 0 && report->pending.count
						  ? "it is asked for already, and pending"
						  : report->unchanged);
		return;
	}
	for (size_t i = 0; i < 3; i++)
		total += parts[i].rows->count;
	if (report->ended)
		puts("a removal that was not finished is now");
	else if (total == 0)
		printf("%s\n", report->verb);
	for (size_t i = 0; i < 3; i++) {
		if (total > 20 && parts[i].rows->count)
			printf("%s: %zu mappings\n", parts[i].verb, parts[i].rows->count);
		for (size_t j = 0; total <= 20 && j < parts[i].rows->count; j++)
			print_change_row(&parts[i].rows->items[j], parts[i].verb);
	}
}

int nb_print_change(struct nb_run *run, const struct nb_report *report, enum nb_status status)
{
	cJSON *object;

	nb_journal_change(run, report);
	nb_print_warnings(run);
	if (status != NB_STATUS_OK)
		nb_print_error(&run->error);
	if (run->options.json) {
		object = cJSON_CreateObject();
		cJSON_AddBoolToObject(object, "changed", report->changed);
		nb_json_add_rows(object, "mappings", &report->mappings);
		nb_json_add_rows(object, "pending", &report->pending);
		if (report->removed.count)
			nb_json_add_rows(object, "removed", &report->removed);
		nb_json_add_warnings(object, run);
		if (report->script)
			cJSON_AddStringToObject(object, "script", report->script);
		if (status != NB_STATUS_OK)
			nb_json_add_error(object, &run->error);
		nb_json_print(run, object);
	} else if (report->script) {
		fputs(report->script, stdout);
	} else if (!run->options.quiet) {
		print_change_text(report);
	}
	return finish(status, report->changed && !run->options.dry_run);
}

const char *nb_format_bytes(uint64_t bytes, char *buffer, size_t size)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	int unit = -1;

	while (value >= 999.5 && unit < 5) {
		value /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(buffer, size, "%llu", (unsigned long long)bytes);
	else
		snprintf(buffer, size, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return buffer;
}

const char *nb_format_left(int64_t seconds, char *buffer, size_t size)
{
	static const struct {
		int64_t length;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };

	for (size_t i = 0; i < 4; i++) {
		if (i < 3 && seconds < units[i].length)
			continue;
		if (i == 3)
			snprintf(buffer, size, "%llds", (long long)seconds);
		else
			snprintf(buffer, size, "%lld%c%02lld%c",
				 (long long)(seconds / units[i].length), units[i].letter,
				 (long long)(seconds % units[i].length / units[i + 1].length),
				 units[i + 1].letter);
		return buffer;
	}
	return buffer;
}

/* The file that `add` makes for it: the name says nothing that the row does not. */
static bool has_usual_name(const struct nb_row *row)
{
	char *name = nb_rules_file_name(row->mapping);
	bool usual = name && strcmp(name, row->file) == 0;

	free(name);
	return usual;
}

static void fill_cells(const struct nb_row *row, int64_t now, struct nb_cell *cells)
{
	const struct nb_mapping *mapping = row->mapping;
	char network[NB_NETWORK_SIZE], text[NB_TARGET_SIZE];

	nb_network_format(&mapping->network, network);
	/* one row for each bridge that it is */
	if (row->bridge && nb_network_is_several(&mapping->network))
		nb_cell_set(&cells[0], NB_PAINT_NONE, "%s (%s)", network, row->bridge);
	else
		nb_cell_set(&cells[0], NB_PAINT_NONE, "%s", network);
	nb_cell_set(&cells[1], NB_PAINT_NONE, "%u/%s", mapping->port,
		    nb_protocol_name(mapping->protocol));
	nb_cell_set(&cells[2], NB_PAINT_NONE, "%s", nb_target_format(&mapping->target, text));
	nb_cell_set(&cells[3], NB_PAINT_NONE, "%s", row->state ? row->state : "?");
	nb_cell_set(&cells[4], NB_PAINT_NONE, "-");
	nb_cell_set(&cells[5], NB_PAINT_NONE, "-");
	if (row->counted) {
		nb_cell_set(&cells[4], NB_PAINT_NONE, "%llu", (unsigned long long)row->connections);
		nb_cell_set(&cells[5], NB_PAINT_NONE, "%s",
			    nb_format_bytes(row->bytes, text, sizeof(text)));
	}
	if (!mapping->until)
		nb_cell_set(&cells[6], NB_PAINT_NONE, "never");
	else if (mapping->until <= now)
		nb_cell_set(&cells[6], NB_PAINT_NONE, "over");
	else
		nb_cell_set(&cells[6], NB_PAINT_NONE, "%s",
			    nb_format_left(mapping->until - now, text, sizeof(text)));
	nb_cell_set(&cells[7], NB_PAINT_NONE, "%s",
		    row->file && !has_usual_name(row) ? row->file : row->origin);
}

/* What a terminal has no room for is cut out of names; what is no terminal gets them whole. */
static int print_table(const struct nb_row_list *rows)
{
	struct nb_table table = {
		.columns = { { .head = "NETWORK", .least = 10 },
			     { .head = "PORT" },
			     { .head = "TARGET" },
			     { .head = "STATE" },
			     { .head = "CONNS", .right = true },
			     { .head = "BYTES", .right = true },
			     { .head = "EXPIRES" },
			     { .head = "FROM", .least = 6 } },
		.column_count = 8,
	};
	struct nb_table *tables[] = { &table };
	int64_t now = nb_now_ms() / 1000;
	struct nb_screen screen;
	int r = 0;

	nb_screen_open(&screen, stdout);
	for (size_t i = 0; r == 0 && i < rows->count; i++) {
		struct nb_cell *cells = nb_table_append(&table);

		if (cells)
			fill_cells(&rows->items[i], now, cells);
		else
			r = -ENOMEM;
	}
	if (r == 0) {
		nb_table_fit(&screen, tables, 1, screen.width);
		nb_table_print(&screen, &table, "", true);
	}
	nb_table_clear(&table);
	return r;
}

const char *nb_no_mappings(const struct nb_run *run)
{
	return run->word_count ? "no mappings there" : "no mappings (nat-bridge add NETWORK PORT)";
}

int nb_print_list(struct nb_run *run, const struct nb_row_list *rows, enum nb_status status)
{
	cJSON *object;

	nb_print_warnings(run);
	if (status != NB_STATUS_OK)
		nb_print_error(&run->error);
	if (run->options.json) {
		object = cJSON_CreateObject();
		nb_json_add_rows(object, "mappings", rows);
		nb_json_add_warnings(object, run);
		if (status != NB_STATUS_OK)
			nb_json_add_error(object, &run->error);
		nb_json_print(run, object);
	} else if (!run->options.quiet) {
		if (rows->count == 0)
			puts(nb_no_mappings(run));
		else if (print_table(rows) < 0)
			status = NB_STATUS_FAILED;
	}
	return nb_print_flush(status);
}

int nb_print_check(struct nb_run *run, const struct nb_findings *findings, enum nb_status status)
{
	bool failed = status == NB_STATUS_FAILED;
	size_t count = findings->count;
	cJSON *object;

	nb_print_warnings(run);
	if (failed)
		nb_print_error(&run->error);
	if (run->options.json) {
		object = cJSON_CreateObject();
		cJSON_AddBoolToObject(object, "in_sync", count == 0 && !failed);
		nb_json_add_findings(object, "drift", findings);
		nb_json_add_warnings(object, run);
		if (failed)
			nb_json_add_error(object, &run->error);
		nb_json_print(run, object);
	} else if (count == 0) {
		if (!run->options.quiet && status == NB_STATUS_OK)
			puts("in sync");
	} else {
		/* the findings are the answer: --quiet leaves the exit status alone */
		for (size_t i = 0; !run->options.quiet && i < count; i++)
			printf("drift: %s (mend: %s)\n", findings->items[i].what,
			       findings->items[i].mend);
	}
	return nb_print_flush(status);
}
