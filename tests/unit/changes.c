/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "changes.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct nb_rules rules;
static struct nb_warnings warnings;
struct nb_error err;
struct nb_change *change;

void make_directory(void)
{
	mkdir("etc", 0755);
	mkdir("etc/nat-bridge", 0755);
	ck_assert_int_eq(mkdir(DIRECTORY, 0755), 0);
}

void teardown(void)
{
	nb_change_free(change);
	change = NULL;
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	dir_leave();
}

void read_rules(void)
{
	nb_change_free(change);
	change = NULL;
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	ck_assert_msg(!nb_rules_read(DIRECTORY, &rules, &warnings, &err), "%s", err.message);
}

/* A fresh reading and a change of it. */
void begin_add(void)
{
	read_rules();
	change = nb_change_new_add(&rules);
	ck_assert_ptr_nonnull(change);
}

void begin_remove(void)
{
	read_rules();
	change = nb_change_new_remove(&rules);
	ck_assert_ptr_nonnull(change);
}

struct nb_mapping make(const char *network, unsigned int port, const char *target)
{
	struct nb_mapping mapping = {
		.protocol = IPPROTO_TCP,
		.port = (uint16_t)port,
		.enabled = true,
		.file = SIZE_MAX,
	};

	ck_assert_int_eq(nb_network_parse(network, &mapping.network, NULL), 0);
	ck_assert_int_eq(nb_target_parse(target, &mapping.target, NULL), 0);
	return mapping;
}

int put(const char *network, unsigned int port, const char *target)
{
	struct nb_mapping mapping = make(network, port, target);

	return nb_change_put(change, &mapping, &err);
}

int take(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_change_take(change, &mapping, &err);
}

const char *file_of(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_change_file_of(change, &mapping);
}

void prepare(void)
{
	ck_assert_msg(!nb_change_prepare(change, &err), "%s", err.message);
}

void commit(void)
{
	ck_assert_msg(!nb_change_commit(change, &err), "%s", err.message);
}

void expect(const char *path, const char *text)
{
	char *found = dir_read(path);

	ck_assert_msg(found != NULL, "%s is missing", path);
	ck_assert_str_eq(found, text);
	free(found);
}

const struct nb_mapping *find(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_rules_find(&rules, &mapping.network, mapping.protocol, mapping.port);
}

const char one_file[] = "{\n"
			"  \"version\": 1,\n"
			"  \"mappings\": [\n"
			"    {\n"
			"      \"network\": \"iface:br0\",\n"
			"      \"port\": 80,\n"
			"      \"protocol\": \"tcp\",\n"
			"      \"target\": \"127.0.0.1:80\"\n"
			"    }\n"
			"  ]\n"
			"}\n";

const char hand_written[] =
	"{ \"mappings\": [ \n"
	"  { \"network\": \"iface:br9\", \"port\": 9, \"comment\": \"nine\" },\n"
	"  { \"network\": \"iface:br1\", \"port\": 1 } ],\n"
	"  \"$schema\": \"../s\\u001f.json\" }\n";
