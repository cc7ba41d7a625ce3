/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `verify` prints: a table of mappings, what is not as it should be, or one JSON object. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "screen.h"
#include "verify.h"

#define MOST_SHOWN 40 /* of what is wrong; the rest is in the JSON */
#define MOST_NAMED 8  /* devices that are skipped for one reason; likewise */

const char *nb_verify_from_name(enum nb_verify_from from)
{
	static const char *const names[] = {
		[NB_FROM_NETWORK] = "network", [NB_FROM_OTHER] = "other-bridge",
		[NB_FROM_LAN] = "lan",	       [NB_FROM_RAW] = "raw",
		[NB_FROM_GUARD] = "guard",
	};

	return names[from];
}

static cJSON *check_to_json(const struct nb_verify *verify, const struct nb_check *check)
{
	bool mapped = check->mapping != NB_NO_MAPPING;
	const struct nb_stored *stored = mapped ? nb_verify_mapping(verify, check->mapping) : NULL;
	char network[NB_NETWORK_SIZE] = "", target[NB_TARGET_SIZE] = "";
	cJSON *object = cJSON_CreateObject();

	if (stored) {
		nb_network_format(&stored->mapping.network, network);
		nb_target_format(&stored->mapping.target, target);
	}
	nb_json_add_text(object, "network", network);
	nb_json_add_text(object, "bridge", stored ? stored->bridge : check->bridge);
	nb_json_add_text(object, "protocol",
			 check->protocol ? nb_protocol_name(check->protocol) : NULL);
	nb_json_add_count(object, "port", check->port != 0, check->port);
	nb_json_add_text(object, "target", target);
	cJSON_AddStringToObject(object, "from", nb_verify_from_name(check->from));
	nb_json_add_text(object, "via", check->via);
	nb_json_add_text(object, "container", check->container);
	nb_json_add_text(object, "to", check->to);
	cJSON_AddStringToObject(object, "expected", check->reach ? "reached" : "closed");
	cJSON_AddStringToObject(object, "seen", check->seen);
	cJSON_AddBoolToObject(object, "ok", check->ok);
	nb_json_add_text(object, "why", check->why);
	return object;
}

static void print_json(const struct nb_verify *verify)
{
	cJSON *object = cJSON_CreateObject(), *array;

	cJSON_AddBoolToObject(object, "verified", verify->bad == 0);
	array = cJSON_AddArrayToObject(object, "checks");
	for (size_t i = 0; i < verify->count; i++)
		cJSON_AddItemToArray(array, check_to_json(verify, &verify->checks[i]));
	array = cJSON_AddArrayToObject(object, "skipped");
	for (size_t i = 0; i < verify->skipped_count; i++) {
		cJSON *skip = cJSON_CreateObject();

		cJSON_AddStringToObject(skip, "device", verify->skipped[i].device);
		cJSON_AddStringToObject(skip, "why", verify->skipped[i].why);
		cJSON_AddItemToArray(array, skip);
	}
	nb_json_add_warnings(object, verify->run);
	nb_json_print(verify->run, object);
}

/* What was seen of a mapping from one kind of place. */
struct sight {
	const char *seen; /* the first that is wrong, otherwise the first */
	size_t count, bad;
};

static void put_sight(struct nb_cell *cell, const struct sight *sight, bool reach)
{
	if (sight->count == 0)
		nb_cell_set(cell, NB_PAINT_FAINT, "-");
	else if (sight->bad == 0)
		nb_cell_set(cell, NB_PAINT_GOOD, "%s", reach ? sight->seen : "closed");
	else if (reach)
		nb_cell_set(cell, NB_PAINT_BAD, "%s", sight->seen);
	else
		nb_cell_set(cell, NB_PAINT_BAD, "OPEN");
}

static int print_table(const struct nb_verify *verify, const struct nb_screen *screen)
{
	struct nb_table table = {
		.columns = {
			{ .head = "NETWORK", .least = 12 },
			{ .head = "PORT" },
			{ .head = "TARGET" },
			{ .head = "INSIDE", .least = 8 },
			{ .head = "BRIDGES" },
			{ .head = "LAN" },
			{ .head = "RAW" },
		},
		.column_count = 7,
	};
	struct nb_table *all = &table;
	struct sight(*sights)[NB_FROM_COUNT] = calloc(verify->mapping_count + 1, sizeof(*sights));

	if (!sights)
		return -ENOMEM;
	for (size_t i = 0; i < verify->count; i++) {
		const struct nb_check *check = &verify->checks[i];
		struct sight *sight;

		if (check->mapping == NB_NO_MAPPING)
			continue;
		sight = &sights[check->mapping][check->from];
		if (!sight->seen || (!check->ok && !sight->bad))
			sight->seen = check->seen;
		sight->count++;
		sight->bad += !check->ok;
	}
	for (size_t i = 0; i < verify->mapping_count; i++) {
		const struct nb_mapping *mapping = &nb_verify_mapping(verify, i)->mapping;
		char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE];
		struct nb_cell *cells = nb_table_append(&table);

		if (!cells) {
			nb_table_clear(&table);
			free(sights);
			return -ENOMEM;
		}
		nb_cell_set(&cells[0], NB_PAINT_NONE, "%s",
			    nb_network_format(&mapping->network, network));
		nb_cell_set(&cells[1], NB_PAINT_NONE, "%u/%s", mapping->port,
			    nb_protocol_name(mapping->protocol));
		nb_cell_set(&cells[2], NB_PAINT_NONE, "%s",
			    nb_target_format(&mapping->target, target));
		for (int from = NB_FROM_NETWORK; from <= NB_FROM_RAW; from++)
			put_sight(&cells[3 + from], &sights[i][from], from == NB_FROM_NETWORK);
	}
	nb_table_fit(screen, &all, 1, screen->width);
	nb_table_print(screen, &table, "", true);
	nb_table_clear(&table);
	free(sights);
	return 0;
}

/*
 * One thing that is wrong: seen from a network's place and its containers, or at several addresses;
 * of frames to 127.0.0.0/8, whatever port they were for.
 */
static bool is_same(const struct nb_check *one, const struct nb_check *other)
{
	if (other->ok || one->from != other->from || strcmp(one->via, other->via) != 0 ||
	    strcmp(one->why, other->why) != 0)
		return false;
	if (one->from == NB_FROM_RAW || one == other)
		return true;
	return one->from != NB_FROM_GUARD && one->mapping == other->mapping &&
	       strcmp(one->seen, other->seen) == 0;
}

static bool is_told(const struct nb_verify *verify, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (is_same(&verify->checks[i], &verify->checks[j]))
			return true;
	return false;
}

/* Names, each once, of which only some are needed. */
struct names {
	char text[MOST_NAMED * (NB_CONTAINER_NAME + 2) + 32];
	const char *items[MOST_NAMED];
	size_t count, left;
};

static void add_name(struct names *names, const char *name)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->items[i], name) == 0)
			return;
	if (names->count == MOST_NAMED)
		names->left++;
	else
		names->items[names->count++] = name;
}

static const char *join(struct names *names)
{
	size_t used = 0;

	names->text[0] = '\0';
	for (size_t i = 0; i < names->count; i++)
		used += (size_t)snprintf(names->text + used, sizeof(names->text) - used, "%s%s",
					 i ? ", " : "", names->items[i]);
	if (names->left)
		snprintf(names->text + used, sizeof(names->text) - used, " and %zu more",
			 names->left);
	return names->text;
}

/* "br-app", "br-app and inside web, db", "inside web on br-app" */
static void print_origin(FILE *stream, const struct nb_check *check, bool beside,
			 struct names *containers)
{
	if (!containers->count)
		fputs(check->via, stream);
	else if (beside)
		fprintf(stream, "%s and inside %s", check->via, join(containers));
	else
		fprintf(stream, "inside %s on %s", join(containers), check->via);
}

/* Print check @i with all that are the same; returns how many these are. */
static size_t print_bad(const struct nb_verify *verify, const struct nb_screen *screen, size_t i)
{
	const struct nb_check *check = &verify->checks[i];
	struct names containers = { .count = 0 }, addresses = { .count = 0 };
	char network[NB_NETWORK_SIZE], *text = NULL;
	const char *seen = check->seen;
	bool beside = false;
	size_t size, same = 0;
	FILE *stream = open_memstream(&text, &size);

	for (size_t j = i; j < verify->count; j++) {
		const struct nb_check *other = &verify->checks[j];

		if (!is_same(check, other))
			continue;
		same++;
		if (other->container)
			add_name(&containers, other->container);
		beside |= !other->container;
		/* the worst of what frames met */
		if (strcmp(other->seen, "reached") == 0)
			seen = other->seen;
		if (other->to[0])
			add_name(&addresses, other->to);
	}
	if (!stream)
		return same;
	if (check->from == NB_FROM_GUARD) {
		fputs(check->bridge, stream);
	} else if (check->from == NB_FROM_RAW) {
		fprintf(stream, "frames from %s", check->via);
	} else {
		nb_network_format(&nb_verify_mapping(verify, check->mapping)->mapping.network,
				  network);
		fprintf(stream, "%s %u/%s from ", network, check->port,
			nb_protocol_name(check->protocol));
		print_origin(stream, check, beside, &containers);
	}
	if (addresses.count)
		fprintf(stream, " to %s", join(&addresses));
	fprintf(stream, ": expected %s, seen: %s%s%s", check->reach ? "reached" : "closed", seen,
		check->why[0] ? "; " : "", check->why);
	if (fclose(stream) == 0) {
		nb_screen_paint(screen, NB_PAINT_BAD, nb_glyph(screen, NB_GLYPH_BAD));
		fputc(' ', screen->out);
		nb_screen_wrap(screen, NB_PAINT_NONE, NULL, 2, text);
	}
	free(text);
	return same;
}

static void print_all_bad(const struct nb_verify *verify, const struct nb_screen *screen)
{
	size_t shown = 0, told = 0;

	for (size_t i = 0; i < verify->count && shown < MOST_SHOWN; i++) {
		if (verify->checks[i].ok || is_told(verify, i))
			continue;
		told += print_bad(verify, screen, i);
		shown++;
	}
	if (told < verify->bad)
		fprintf(screen->out, "... and %zu more checks (--json has all)\n",
			verify->bad - told);
}

/* A check is as good as the places that it was made from. */
static void print_places(const struct nb_verify *verify, const struct nb_screen *screen)
{
	size_t containers = 0, bridges = 0;
	bool lan = false;
	char text[160];

	for (size_t i = 0; i < verify->station_count; i++) {
		const struct nb_station *station = &verify->stations[i];

		if (station->result < 0)
			continue;
		containers += station->pid != 0;
		bridges += !station->pid && station->bridge[0];
		lan |= !station->bridge[0];
	}
	snprintf(text, sizeof(text), "sent from %zu bridge%s, inside %zu container%s%s", bridges,
		 bridges == 1 ? "" : "s", containers, containers == 1 ? "" : "s",
		 lan ? ", and from a stand-in for the LAN" : "");
	nb_screen_wrap(screen, NB_PAINT_FAINT, NULL, 0, text);
}

static int compare_skips(const void *a, const void *b)
{
	const struct nb_verify_skip *left = a, *right = b;
	int order = strcmp(left->why, right->why);

	return order ? order : strcmp(left->device, right->device);
}

/* "not sent from: eth0, wg0 (no bridge), br0 (others than containers are on it)" */
static void print_skipped(struct nb_verify *verify, const struct nb_screen *screen)
{
	char *text = NULL;
	size_t size = 0, next;
	FILE *stream;

	if (verify->skipped_count == 0)
		return;
	qsort(verify->skipped, verify->skipped_count, sizeof(*verify->skipped), compare_skips);
	stream = open_memstream(&text, &size);
	if (!stream)
		return;
	fputs("not sent from: ", stream);
	for (size_t i = 0; i < verify->skipped_count; i = next) {
		const char *why = verify->skipped[i].why;

		for (next = i;
		     next < verify->skipped_count && strcmp(verify->skipped[next].why, why) == 0;
		     next++)
			if (next - i < MOST_NAMED)
				fprintf(stream, "%s%s", next ? ", " : "",
					verify->skipped[next].device);
		if (next - i > MOST_NAMED)
			fprintf(stream, " and %zu more", next - i - MOST_NAMED);
		fprintf(stream, " (%s)", why);
	}
	if (fclose(stream) == 0)
		nb_screen_wrap(screen, NB_PAINT_FAINT, NULL, 0, text);
	free(text);
}

int nb_verify_print(struct nb_verify *verify)
{
	struct nb_run *run = verify->run;
	int status = verify->bad ? NB_STATUS_FAILED : NB_STATUS_OK;
	struct nb_screen screen;

	nb_print_warnings(run);
	if (run->options.json) {
		print_json(verify);
		return nb_print_flush(status);
	}
	nb_screen_open(&screen, stdout);
	if (verify->mapping_count == 0 && verify->bad == 0) {
		if (!run->options.quiet)
			puts(run->word_count ? "no mappings there: nothing to verify"
					     : "no mappings: nothing to verify");
		return nb_print_flush(status);
	}
	if (!run->options.quiet && verify->mapping_count && print_table(verify, &screen) < 0) {
		nb_out_of_memory(run);
		return nb_print_failure(run);
	}
	/* what is wrong is the answer */
	if (verify->bad) {
		if (!run->options.quiet && verify->mapping_count)
			putchar('\n');
		print_all_bad(verify, &screen);
	}
	if (!run->options.quiet && verify->station_count) {
		putchar('\n');
		print_places(verify, &screen);
		print_skipped(verify, &screen);
	}
	if (verify->bad)
		printf("not verified: %zu of %zu checks are not as expected\n", verify->bad,
		       verify->count);
	else if (!run->options.quiet)
		printf("verified: all %zu checks are as expected\n", verify->count);
	return nb_print_flush(status);
}
