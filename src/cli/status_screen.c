/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole picture for a person. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "screen.h"
#include "status.h"

/* Of more warnings only the first are shown; they may be one for each mapping. */
#define MOST_WARNINGS 12
/* Likewise of the containers of a network. */
#define MOST_CONTAINERS 40

#define LEAST_TARGET 11
#define LEAST_SERVED 9

enum {
	PORT,
	TARGET,
	SERVED,
	NOW,
	TOTAL,
	BYTES,
	RATE,
	STATE,
};

static struct nb_table new_table(void)
{
	return (struct nb_table){
		.columns = {
			[PORT] = { "PORT", false, 0 },
			[TARGET] = { "TARGET", false, LEAST_TARGET },
			[SERVED] = { "SERVED BY", false, LEAST_SERVED },
			[NOW] = { "NOW", true, 0 },
			[TOTAL] = { "TOTAL", true, 0 },
			[BYTES] = { "BYTES", true, 0 },
			[RATE] = { "RATE", true, 0 },
			[STATE] = { "STATE", false, 0 },
		},
		.column_count = STATE + 1,
	};
}

/* --- One mapping --- */

/* "ollama[812]"; of a process that this user may not see, whose it is. */
static void name_holder(const struct nb_picture *picture, const struct nb_listener *listener,
			char *buffer, size_t size)
{
	const struct nb_holder *holder = nb_status_holder(picture, listener);

	if (holder)
		snprintf(buffer, size, "%s[%d]", holder->name, (int)holder->pid);
	else
		snprintf(buffer, size, "a process of uid %u", listener->uid);
}

/* The first that serves, or if none does the first. */
static const struct nb_listener *find_listener(const struct nb_status_mapping *mapping)
{
	for (size_t i = 0; i < mapping->listeners.count; i++)
		if (nb_listener_serves(&mapping->listeners.items[i],
				       mapping->row.mapping->target.address))
			return &mapping->listeners.items[i];
	return mapping->listeners.count ? mapping->listeners.items : NULL;
}

static const char *bound_device(const struct nb_picture *picture,
				const struct nb_status_mapping *mapping)
{
	for (size_t i = 0; i < mapping->listeners.count; i++) {
		const char *device = nb_status_device(picture, &mapping->listeners.items[i]);

		if (device)
			return device;
	}
	return "?";
}

/* What stands behind the last @mark is what tells one from the other: it is not cut away. */
static void keep_from(struct nb_cell *cell, char mark)
{
	const char *end = strrchr(cell->text, mark);

	cell->tail = end ? strlen(end) : 0;
}

/* @more is what else there is to say: a line of its own, so that neither is cut. */
static void fill_served(const struct nb_picture *picture, const struct nb_status_mapping *mapping,
			struct nb_cell *cell, struct nb_cell *more)
{
	const struct nb_listener *listener = find_listener(mapping);
	const char *address = listener ? listener->address : "";
	char name[NB_PROCESS_NAME_SIZE + 32] = "";

	if (listener)
		name_holder(picture, listener, name, sizeof(name));
	switch (mapping->serving) {
	case NB_SERVES_UNKNOWN:
		nb_cell_set(cell, NB_PAINT_FAINT, "?");
		return;
	case NB_SERVES_NOTHING:
		nb_cell_set(cell, NB_PAINT_BAD, "nothing");
		return;
	case NB_SERVES_ELSEWHERE:
		nb_cell_set(cell, NB_PAINT_BAD, "only %s", address);
		nb_cell_set(more, NB_PAINT_FAINT, "%s", name);
		return;
	case NB_SERVES_DEVICE:
		nb_cell_set(cell, NB_PAINT_BAD, "bound to device %s",
			    bound_device(picture, mapping));
		keep_from(cell, ' ');
		nb_cell_set(more, NB_PAINT_FAINT, "%s", name);
		return;
	case NB_SERVES_YES:
		nb_cell_set(cell, NB_PAINT_NONE, "%s", name);
		keep_from(cell, '[');
		if (mapping->open)
			nb_cell_set(more, NB_PAINT_WARN, "also on %s",
				    mapping->open->ipv4 ? "0.0.0.0" : "[::]");
	}
}

/* What is as it should be, for ever, needs no word. */
static void fill_state(const struct nb_row *row, struct nb_cell *cell)
{
	int64_t left = row->mapping->until - nb_now_ms() / 1000;
	char text[32];

	if (row->state && strcmp(row->state, "active") != 0)
		nb_cell_set(cell, strcmp(row->state, "drift") == 0 ? NB_PAINT_BAD : NB_PAINT_WARN,
			    "%s", row->state);
	else if (row->mapping->until && left > 0)
		nb_cell_set(cell, NB_PAINT_NONE, "%s left",
			    nb_format_left(left, text, sizeof(text)));
}

static void fill_rate(const struct nb_rate *rate, struct nb_cell *cell)
{
	char text[16];

	if (!rate->known)
		return;
	nb_format_bytes((uint64_t)(rate->bytes + 0.5), text, sizeof(text));
	nb_cell_set(cell, rate->packets > 0 ? NB_PAINT_GOOD : NB_PAINT_FAINT, "%s/s", text);
}

static void fill_counts(const struct nb_status_mapping *mapping, struct nb_cell *cells)
{
	const struct nb_row *row = &mapping->row;
	char text[16];

	if (!row->counted)
		return;
	nb_cell_set(&cells[NOW], row->connections ? NB_PAINT_GOOD : NB_PAINT_FAINT, "%llu",
		    (unsigned long long)row->connections);
	nb_cell_set(&cells[TOTAL], NB_PAINT_NONE, "%llu", (unsigned long long)mapping->connections);
	nb_cell_set(&cells[BYTES], NB_PAINT_NONE, "%s",
		    nb_format_bytes(row->bytes, text, sizeof(text)));
}

static int fill_mapping(const struct nb_picture *picture, const struct nb_status_mapping *mapping,
			struct nb_table *table)
{
	const struct nb_mapping *what = mapping->row.mapping;
	struct nb_cell *cells = nb_table_append(table), more = { .spills = true };
	char target[NB_TARGET_SIZE];

	if (!cells)
		return -ENOMEM;
	nb_cell_set(&cells[PORT], NB_PAINT_HEAD, "%u/%s", what->port,
		    nb_protocol_name(what->protocol));
	nb_cell_set(&cells[TARGET], NB_PAINT_NONE, "%s", nb_target_format(&what->target, target));
	keep_from(&cells[TARGET], ':');
	fill_served(picture, mapping, &cells[SERVED], &more);
	fill_counts(mapping, cells);
	fill_rate(&mapping->rate, &cells[RATE]);
	fill_state(&mapping->row, &cells[STATE]);
	if (!more.text[0])
		return 0;
	cells = nb_table_append(table);
	if (!cells)
		return -ENOMEM;
	cells[SERVED] = more;
	return 0;
}

/* --- One network --- */

/* Columns beside the frame. */
static size_t room(const struct nb_screen *screen)
{
	return screen->width == SIZE_MAX ? SIZE_MAX : screen->width - 2;
}

/* The frame's left side, with a blank behind it. */
static const char *side(const struct nb_screen *screen)
{
	return screen->utf8 ? "│ " : "| ";
}

static void print_side(const struct nb_screen *screen)
{
	nb_screen_paint(screen, NB_PAINT_FAINT, side(screen));
}

static void print_title(const struct nb_screen *screen, const struct nb_status_network *network)
{
	char name[NB_NETWORK_SIZE];
	size_t columns = nb_text_columns(nb_network_format(network->network, name));

	nb_screen_paint(screen, NB_PAINT_FAINT, nb_glyph(screen, NB_GLYPH_TOP));
	fputc(' ', screen->out);
	nb_screen_cell(screen, NB_PAINT_HEAD, false, name,
		       columns < room(screen) ? columns : room(screen));
	fputc('\n', screen->out);
}

/* "bridge br-0123456789ab, guard complete": what it is, and then how it stands. */
static void print_bridge(const struct nb_screen *screen, const struct nb_status_network *network)
{
	const struct nb_link *link = network->link;
	const char *guard = nb_guard_name(network->guard);

	print_side(screen);
	if (!link) {
		nb_screen_paint(screen, NB_PAINT_WARN, "no bridge now");
		fputc('\n', screen->out);
		return;
	}
	fprintf(screen->out, "bridge %s", link->name);
	if (network->engine_network.engine != NB_ENGINE_IFACE)
		fprintf(screen->out, " of %s", nb_engine_title(network->engine_network.engine));
	if (guard) {
		fputs(", guard ", screen->out);
		nb_screen_paint(screen,
				network->guard == NB_GUARD_COMPLETE ? NB_PAINT_GOOD : NB_PAINT_BAD,
				guard);
	}
	if (link->route_localnet != 1) {
		fputs(", ", screen->out);
		nb_screen_paint(screen, NB_PAINT_BAD, "route_localnet off");
	}
	fputc('\n', screen->out);
}

/* Who is on it: "web 172.18.0.2, db 172.18.0.3". */
static int print_containers(const struct nb_screen *screen, const struct nb_status_network *network)
{
	const struct nb_engine_endpoints *containers = &network->containers;
	char *text = NULL, address[INET_ADDRSTRLEN];
	size_t size = 0;
	FILE *stream;

	/* who is on a bridge that no engine made, nobody knows */
	if (!network->link || network->engine_network.engine == NB_ENGINE_IFACE)
		return 0;
	stream = open_memstream(&text, &size);
	if (!stream)
		return -ENOMEM;
	if (!containers->known)
		fprintf(stream, "containers: %s does not say",
			nb_engine_title(network->engine_network.engine));
	else if (containers->count == 0)
		fputs("no containers", stream);
	for (size_t i = 0; i < containers->count && i < MOST_CONTAINERS; i++) {
		const struct in_addr in = { htonl(containers->items[i].address) };

		fprintf(stream, "%s%s %s", i ? ", " : "", containers->items[i].container,
			inet_ntop(AF_INET, &in, address, sizeof(address)));
	}
	if (containers->count > MOST_CONTAINERS)
		fprintf(stream, ", and %zu more", containers->count - MOST_CONTAINERS);
	if (fclose(stream) == 0) {
		print_side(screen);
		nb_screen_wrap(screen, containers->count ? NB_PAINT_NONE : NB_PAINT_FAINT,
			       side(screen), 2, text);
	}
	free(text);
	return 0;
}

static void print_end(const struct nb_screen *screen)
{
	nb_screen_paint(screen, NB_PAINT_FAINT, nb_glyph(screen, NB_GLYPH_BOTTOM));
	fputc('\n', screen->out);
}

static int print_network(const struct nb_screen *screen, const struct nb_status_network *network,
			 const struct nb_table *table)
{
	print_title(screen, network);
	print_bridge(screen, network);
	if (print_containers(screen, network) < 0)
		return -ENOMEM;
	nb_table_print(screen, table, side(screen), true);
	print_end(screen);
	return 0;
}

/* Columns are as wide in every block, so that the eye finds them. */
static int print_networks(const struct nb_screen *screen, const struct nb_picture *picture)
{
	size_t count = picture->network_count;
	struct nb_table *tables = calloc(count + 1, sizeof(*tables));
	struct nb_table **all = calloc(count + 1, sizeof(*all));
	int r = tables && all ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < count; i++) {
		const struct nb_status_network *network = &picture->networks[i];

		tables[i] = new_table();
		all[i] = &tables[i];
		for (size_t j = 0; r == 0 && j < network->count; j++)
			r = fill_mapping(picture, &picture->mappings[network->first + j],
					 &tables[i]);
	}
	if (r == 0)
		nb_table_fit(screen, all, count, room(screen));
	for (size_t i = 0; r == 0 && i < count; i++)
		r = print_network(screen, &picture->networks[i], &tables[i]);
	for (size_t i = 0; tables && i < count; i++)
		nb_table_clear(&tables[i]);
	free(tables);
	free(all);
	return r;
}

/* --- The host --- */

static void print_heading(const struct nb_screen *screen, const char *text)
{
	fputc('\n', screen->out);
	nb_screen_paint(screen, NB_PAINT_HEAD, text);
	fputc('\n', screen->out);
}

static void fill_passage(const struct nb_firewall_chain *chain, struct nb_cell *cell)
{
	switch (chain->passage) {
	case NB_PASSES_UNSEEN:
	case NB_PASSES:
		nb_cell_set(cell, NB_PAINT_GOOD, "%s",
			    chain->opener ? "passes, by our rule" : "passes");
		break;
	case NB_PASSES_PERHAPS:
		nb_cell_set(cell, NB_PAINT_WARN, "may drop our packets");
		break;
	case NB_PASSES_NOT:
		nb_cell_set(cell, NB_PAINT_BAD, "drops our packets");
	}
}

static int print_firewalls(const struct nb_screen *screen, const struct nb_picture *picture)
{
	const struct nb_firewall_list *list = &picture->firewalls;
	struct nb_table table = {
		.columns = { { "CHAIN", false, 14 },
			     { "HOOK", false, 0 },
			     { "PROGRAM", false, 8 },
			     { "", false, 0 } },
		.column_count = 4,
	};
	struct nb_table *all = &table;

	if (!picture->firewalls_known)
		return 0;
	print_heading(screen, "Firewalls");
	if (list->count == 0) {
		fputs("  none is on the way\n", screen->out);
		return 0;
	}
	for (size_t i = 0; i < list->count; i++) {
		const struct nb_firewall_chain *chain = &list->items[i];
		struct nb_cell *cells = nb_table_append(&table);

		if (!cells)
			break;
		nb_cell_set(&cells[0], NB_PAINT_NONE, "%s %s %s", chain->family, chain->table,
			    chain->chain);
		nb_cell_set(&cells[1], NB_PAINT_FAINT, "%s", chain->hook);
		nb_cell_set(&cells[2], NB_PAINT_NONE, "%s",
			    chain->program[0] ? chain->program : "?");
		fill_passage(chain, &cells[3]);
	}
	nb_table_fit(screen, &all, 1, room(screen));
	nb_table_print(screen, &table, "  ", true);
	nb_table_clear(&table);
	return 0;
}

/* One line with a mark in front. */
static void print_item(const struct nb_screen *screen, enum nb_glyph glyph, enum nb_paint paint,
		       const char *text)
{
	fputs("  ", screen->out);
	nb_screen_paint(screen, paint, nb_glyph(screen, glyph));
	fputc(' ', screen->out);
	nb_screen_advise(screen, NB_PAINT_NONE, 4, text);
}

static void print_troubles(const struct nb_screen *screen, const struct nb_run *run,
			   const struct nb_picture *picture)
{
	size_t total = picture->drift.count + run->warnings.count, shown = 0;
	char text[1024];

	if (total == 0)
		return;
	print_heading(screen, "Warnings");
	for (size_t i = 0; i < picture->drift.count && shown < MOST_WARNINGS; i++, shown++) {
		snprintf(text, sizeof(text), "%s: %s", picture->drift.items[i].what,
			 picture->drift.items[i].mend);
		print_item(screen, NB_GLYPH_BAD, NB_PAINT_BAD, text);
	}
	for (size_t i = 0; i < run->warnings.count && shown < MOST_WARNINGS; i++, shown++)
		print_item(screen, NB_GLYPH_WARN, NB_PAINT_WARN, run->warnings.items[i]);
	if (total > shown)
		fprintf(screen->out, "  and %zu more: nat-bridge status --json\n", total - shown);
}

/* Append "3 of them", behind a comma if it is not the first: nothing if there is none. */
static size_t append_count(char *text, size_t size, size_t used, size_t count, const char *what)
{
	if (!count)
		return used;
	return used + (size_t)snprintf(text + used, size - used, "%s%zu %s", used ? ", " : "",
				       count, what);
}

/* The last line, which is what one sees of 500 mappings: how many, and what is wrong with them. */
static void print_summary(const struct nb_screen *screen, const struct nb_run *run,
			  const struct nb_picture *picture)
{
	size_t unserved = 0, inactive = 0, live = 0;
	size_t warnings = run->warnings.count + picture->drift.count;
	char text[512], wrong[160] = "";
	size_t used = 0;
	bool together;

	for (size_t i = 0; i < picture->mapping_count; i++) {
		const struct nb_status_mapping *mapping = &picture->mappings[i];

		unserved += mapping->serving > NB_SERVES_YES;
		inactive += mapping->row.state && strcmp(mapping->row.state, "active") != 0;
		live += mapping->row.connections;
	}
	snprintf(text, sizeof(text), "%zu mapping%s on %zu network%s", picture->mapping_count,
		 picture->mapping_count == 1 ? "" : "s", picture->network_count,
		 picture->network_count == 1 ? "" : "s");
	if (picture->view.visible)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %zu connection%s now",
			 live, live == 1 ? "" : "s");
	used = append_count(wrong, sizeof(wrong), used, inactive, "not active");
	used = append_count(wrong, sizeof(wrong), used, unserved, "served by nobody");
	used = append_count(wrong, sizeof(wrong), used, warnings,
			    warnings == 1 ? "warning" : "warnings");
	fputc('\n', screen->out);
	/* what is wrong stays together */
	together = used && strlen(text) + 2 + used <= screen->width;
	if (together)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ", %s", wrong);
	nb_screen_wrap(screen, NB_PAINT_HEAD, NULL, 0, text);
	if (used && !together)
		nb_screen_wrap(screen, NB_PAINT_HEAD, NULL, 0, wrong);
}

int nb_status_print_screen(struct nb_run *run, const struct nb_picture *picture)
{
	struct nb_screen screen;

	nb_screen_open(&screen, stdout);
	if (picture->mapping_count == 0)
		puts(nb_no_mappings(run));
	else if (print_networks(&screen, picture) < 0 || print_firewalls(&screen, picture) < 0)
		return nb_out_of_memory(run);
	print_troubles(&screen, run, picture);
	if (picture->mapping_count)
		print_summary(&screen, run, picture);
	return 0;
}
