/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the log remembers of flows, and how it writes lines. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"
#include "watch/flow_table.h"
#include "watch/sink.h"

#define FLOWS 1000

static struct nb_conntrack entry_of(unsigned int number)
{
	return (struct nb_conntrack){
		.original = {
			.source = 0x0a000002 + number % 7,
			.source_port = (uint16_t)(1024 + number),
			.destination = 0x0a000001,
			.destination_port = 80,
		},
		.protocol = number % 2 ? IPPROTO_TCP : IPPROTO_UDP,
		.id = number,
	};
}

START_TEST(flows_are_found_by_their_tuple)
{
	struct nb_flow_table table = { 0 };

	for (unsigned int i = 0; i < FLOWS; i++) {
		const struct nb_conntrack entry = entry_of(i);
		struct nb_origin *origin = nb_flow_table_origin(&table, entry.original.source);

		if (!origin)
			origin = nb_flow_table_add_origin(&table, entry.original.source);
		ck_assert_ptr_null(nb_flow_table_find(&table, &entry));
		ck_assert_ptr_nonnull(nb_flow_table_add(&table, &entry, origin));
	}
	ck_assert_uint_eq(table.count, FLOWS);
	for (unsigned int i = 0; i < FLOWS; i += 2) {
		const struct nb_conntrack entry = entry_of(i);

		nb_flow_table_remove(&table, nb_flow_table_find(&table, &entry));
	}
	for (unsigned int i = 0; i < FLOWS; i++) {
		struct nb_conntrack entry = entry_of(i);
		const struct nb_flow *flow;

		/* the id takes no part, the zone does */
		entry.id = 0;
		flow = nb_flow_table_find(&table, &entry);
		ck_assert_int_eq(flow != NULL, i % 2);
		ck_assert(!flow || flow->entry.id == i);
		entry.zone_scope = NB_ZONE_BOTH;
		entry.zone = 1;
		ck_assert_ptr_null(nb_flow_table_find(&table, &entry));
	}
	nb_flow_table_clear(&table);
	ck_assert_uint_eq(table.count, 0);
	ck_assert_ptr_null(table.origins);
}
END_TEST

/* Whose an address was stays with its flow; a new flow asks again. */
START_TEST(an_address_may_get_another_owner)
{
	struct nb_flow_table table = { 0 };
	const struct nb_conntrack entry = entry_of(0);
	struct nb_origin *origin = nb_flow_table_add_origin(&table, 1), *other;
	struct nb_flow *flow = nb_flow_table_add(&table, &entry, origin);

	nb_flow_table_add_origin(&table, 2);
	strcpy(origin->container, "first");
	ck_assert_ptr_eq(nb_flow_table_origin(&table, 1), origin);
	nb_flow_table_forget_origins(&table);
	ck_assert_ptr_null(nb_flow_table_origin(&table, 1));
	ck_assert_ptr_null(nb_flow_table_origin(&table, 2));
	ck_assert_str_eq(flow->origin->container, "first");
	other = nb_flow_table_add_origin(&table, 1);
	ck_assert_ptr_eq(nb_flow_table_origin(&table, 1), other);
	/* with its last flow goes what nobody else needs, and no more */
	nb_flow_table_remove(&table, flow);
	ck_assert_ptr_eq(table.origins, other);
	ck_assert_ptr_null(other->next);
	nb_flow_table_clear(&table);
}
END_TEST

START_TEST(addresses_that_nobody_uses_are_not_kept)
{
	struct nb_flow_table table = { 0 };
	const struct nb_conntrack entry = entry_of(0);
	struct nb_origin *origin = nb_flow_table_add_origin(&table, 0);

	nb_flow_table_add(&table, &entry, origin);
	for (uint32_t i = 1; i < 5 * NB_ORIGINS_MAX; i++) {
		nb_flow_table_add_origin(&table, i);
		ck_assert_uint_le(table.origin_count, NB_ORIGINS_MAX);
	}
	ck_assert_ptr_eq(table.first->origin, origin);
	nb_flow_table_clear(&table);
	ck_assert_uint_eq(table.origin_count, 0);
}
END_TEST

static void write_number(struct nb_sink *sink, int number)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddNumberToObject(object, "number", number);
	cJSON_AddStringToObject(object, "text", "with \"quotes\"\nand a break");
	nb_sink_write(sink, object, "");
	cJSON_Delete(object);
}

/* Each write takes whole lines, and no more than a pipe takes at once. */
START_TEST(lines_are_written_whole)
{
	char path[] = "/tmp/test-sink-XXXXXX", text[65536];
	int ends[2], fd = mkstemp(path), lines = 0;
	struct nb_error error = { 0 };
	struct nb_sink sink;
	ssize_t length;

	close(fd);
	ck_assert_int_eq(nb_sink_open(&sink, path, &error), 0);
	ck_assert_int_eq(pipe2(ends, O_DIRECT | O_NONBLOCK), 0);
	close(sink.fd);
	sink.fd = ends[1];
	for (int i = 0; i < 300; i++)
		write_number(&sink, i);
	nb_sink_flush(&sink);
	/* with O_DIRECT a read gives what one write gave */
	while ((length = read(ends[0], text, sizeof(text) - 1)) > 0) {
		ck_assert_int_le(length, NB_SINK_BUFFER);
		ck_assert_int_eq(text[length - 1], '\n');
		for (ssize_t i = 0; i < length; i++)
			lines += text[i] == '\n';
	}
	ck_assert_int_eq(lines, 300);
	ck_assert_uint_eq(sink.lost, 0);
	/* and what cannot be written is counted */
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 3; i++)
		write_number(&sink, i);
	nb_sink_flush(&sink);
	ck_assert_uint_eq(sink.lost, 3);
	nb_sink_close(&sink);
	unlink(path);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("flow_log");

	unit_add(suite, "found", flows_are_found_by_their_tuple);
	unit_add(suite, "owner", an_address_may_get_another_owner);
	unit_add(suite, "kept", addresses_that_nobody_uses_are_not_kept);
	unit_add(suite, "whole", lines_are_written_whole);
	return unit_run(suite);
}
