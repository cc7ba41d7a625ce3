/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a rules directory: names, owners, repetitions, conflicts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "nat-bridge/rules.h"
#include "unit.h"

#define MAPPING(text)	"{ \"version\": 1, \"mappings\": [ " text " ] }"
#define NETWORK		"\"network\": \"iface:br0\""
#define WITH_PORT(rest) MAPPING("{ " NETWORK ", \"port\": 80" rest " }")

static struct nb_rules rules;
static struct nb_warnings warnings;
static struct nb_error err;

static void setup(void)
{
	dir_enter();
	ck_assert_int_eq(mkdir("rules.d", 0755), 0);
}

static void teardown(void)
{
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	dir_leave();
}

static void read_rules(void)
{
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	ck_assert_msg(!nb_rules_read("rules.d", &rules, &warnings, &err), "%s", err.message);
}

START_TEST(missing_and_empty_directory)
{
	ck_assert_int_eq(nb_rules_read("nowhere/rules.d", &rules, &warnings, &err), 0);
	ck_assert(!rules.present);
	ck_assert_uint_eq(rules.file_count, 0);
	read_rules();
	ck_assert(rules.present);
	ck_assert_uint_eq(rules.file_count, 0);
	ck_assert_ptr_null(nb_rules_invalid(&rules));
}
END_TEST

START_TEST(reads_all_that_a_file_can_say)
{
	const struct nb_mapping *mapping;
	struct nb_network network;
	char target[NB_TARGET_SIZE];

	dir_write("rules.d/a.json", "{\n"
				    "  \"$schema\": \"x\\/y\",\n"
				    "  \"version\": 1,\n"
				    "  \"mappings\": [\n"
				    "    { \"network\": \"docker:agents\", \"port\": 11434 },\n"
				    "    {\n"
				    "      \"comment\": \"R\\u00e4G \\ud83d\\ude00 \\\"x\\\"\",\n"
				    "      \"external\": true,\n"
				    "      \"until\": \"2026-11-23T06:49:21+01:00\",\n"
				    "      \"enabled\": false,\n"
				    "      \"target\": \"127.0.0.54:5353\",\n"
				    "      \"protocol\": \"udp\",\n"
				    "      \"po\\u0072t\": 53,\n"
				    "      \"network\": \"iface:br0\"\n"
				    "    }\n"
				    "  ]\n"
				    "}\n");
	dir_write("rules.d/.hidden.json", "not read");
	dir_write("rules.d/notes.txt", "not read");
	dir_write("rules.d/.json", "not read");
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert_msg(rules.files[0].valid, "%s",
		      rules.files[0].error ? rules.files[0].error->message : "");
	ck_assert_uint_eq(rules.files[0].mappings, 2);
	ck_assert_str_eq(rules.files[0].schema, "x/y");
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_uint_eq(warnings.count, 0);

	ck_assert_int_eq(nb_network_parse("docker:agents", &network, NULL), 0);
	mapping = nb_rules_find(&rules, &network, IPPROTO_TCP, 11434);
	ck_assert_ptr_nonnull(mapping);
	ck_assert_str_eq(nb_target_format(&mapping->target, target), "127.0.0.1:11434");
	ck_assert(mapping->enabled && !mapping->external && !mapping->runtime);
	ck_assert_int_eq(mapping->until, 0);
	ck_assert_ptr_null(mapping->comment);
	ck_assert_uint_eq(mapping->line, 5);
	ck_assert_ptr_null(nb_rules_find(&rules, &network, IPPROTO_UDP, 11434));

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	mapping = nb_rules_find(&rules, &network, IPPROTO_UDP, 53);
	ck_assert_ptr_nonnull(mapping);
	ck_assert_str_eq(nb_target_format(&mapping->target, target), "127.0.0.54:5353");
	ck_assert(!mapping->enabled && mapping->external);
	ck_assert_int_eq(mapping->until, 1795412961);
	ck_assert_str_eq(mapping->comment, "RäG 😀 \"x\"");
	ck_assert_uint_eq(mapping->line, 6);
	ck_assert_uint_eq(mapping->file, 0);
}
END_TEST

START_TEST(same_mapping_twice_merges)
{
	dir_write("rules.d/a.json", WITH_PORT(", \"comment\": \"first\""));
	dir_write("rules.d/b.json", WITH_PORT(", \"comment\": \"second\""));
	dir_write("rules.d/c.json",
		  MAPPING("{ " NETWORK ", \"port\": 81 }, { " NETWORK ", \"port\": 81 }"));
	read_rules();
	ck_assert_ptr_null(nb_rules_invalid(&rules));
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_uint_eq(rules.repeated.count, 2);
	ck_assert_str_eq(rules.mappings.items[0].comment, "first");
	ck_assert_uint_eq(warnings.count, 2);
	ck_assert_str_eq(warnings.items[0],
			 "b.json:1: iface:br0 80/tcp is already in a.json:1; one of them can go");
}
END_TEST

START_TEST(many_repetitions_are_counted)
{
	FILE *stream = fopen("rules.d/a.json", "w");

	ck_assert_ptr_nonnull(stream);
	fputs("{\"mappings\":[", stream);
	for (int i = 0; i < 20000; i++)
		fprintf(stream, "%s\n{ " NETWORK ", \"port\": 80 }", i ? "," : "");
	fputs("]}", stream);
	fclose(stream);
	read_rules();
	ck_assert_uint_eq(rules.mappings.count, 1);
	ck_assert_uint_eq(rules.repeated.count, 19999);
	ck_assert_uint_eq(warnings.count, 9);
	ck_assert_str_eq(warnings.items[8],
			 "19999 mappings occur more than once in the rule files");
}
END_TEST

START_TEST(later_file_of_a_conflict_is_invalid)
{
	const struct nb_error *error;

	dir_write("rules.d/b.json",
		  MAPPING("{ " NETWORK ", \"port\": 79 },\n{ " NETWORK ", \"port\": 80, "
			  "\"target\": \"81\" },\n{ " NETWORK ", \"port\": 82 }"));
	dir_write("rules.d/a.json", "\n" WITH_PORT(""));
	dir_write("rules.d/c.json", MAPPING("{ " NETWORK ", \"port\": 79, \"target\": \"1\" }"));
	read_rules();
	ck_assert(rules.files[0].valid);
	ck_assert(!rules.files[1].valid);
	/* Nothing of the invalid file stands in anybody's way. */
	ck_assert(rules.files[2].valid);
	ck_assert_uint_eq(rules.mappings.count, 2);
	error = nb_rules_invalid(&rules)->error;
	ck_assert_str_eq(error->file, "rules.d/b.json");
	ck_assert_uint_eq(error->line, 2);
	ck_assert_str_eq(error->key, "mappings[1]");
	ck_assert_ptr_nonnull(strstr(error->message, "127.0.0.1:80, in a.json:2"));
}
END_TEST

START_TEST(files_are_read_in_name_order)
{
	static const char *const names[] = { "z", "A", "10", "9", "b" };
	static const char *const sorted[] = { "10.json", "9.json", "A.json", "b.json", "z.json" };
	char path[64];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "rules.d/%s.json", names[i]);
		dir_write(path, "{\"mappings\":[]}");
	}
	dir_write("rules.d/.b.json.gone", "");
	dir_write("rules.d/.a.json.gone", "");
	dir_write("rules.d/.a.json.new", "");
	dir_write("rules.d/.gone", "");
	dir_write("rules.d/.x.txt.gone", "");
	read_rules();
	ck_assert_uint_eq(rules.file_count, COUNT(sorted));
	for (size_t i = 0; i < COUNT(sorted); i++)
		ck_assert_str_eq(rules.files[i].name, sorted[i]);
	ck_assert_uint_eq(rules.unfinished_count, 2);
	ck_assert_str_eq(rules.unfinished[0], "a.json");
	ck_assert_str_eq(rules.unfinished[1], "b.json");
}
END_TEST

static void expect_refused(const char *says)
{
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert(!rules.files[0].valid);
	ck_assert_int_eq(rules.files[0].error->status, NB_STATUS_USAGE);
	ck_assert_str_eq(rules.files[0].error->file, "rules.d/a.json");
	ck_assert_msg(strstr(rules.files[0].error->message, says) != NULL, "%s",
		      rules.files[0].error->message);
	/* who prints the file before the message names it once, then */
	if (strncmp(rules.files[0].error->message, "cannot ", 7))
		ck_assert_ptr_null(strstr(rules.files[0].error->message, "a.json"));
}

START_TEST(what_is_no_regular_file)
{
	struct nb_network network;

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	ck_assert_int_eq(mkdir("rules.d/a.json", 0755), 0);
	expect_refused("a directory");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(rmdir("rules.d/a.json"), 0);
	/* Without a writer, reading would wait for ever. */
	ck_assert_int_eq(mkfifo("rules.d/a.json", 0644), 0);
	expect_refused("a named pipe");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("/dev/null", "rules.d/a.json"), 0);
	expect_refused("a device or a socket");
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("nowhere", "rules.d/a.json"), 0);
	expect_refused("link to nothing");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("a.json", "rules.d/a.json"), 0);
	expect_refused("circle");
}
END_TEST

START_TEST(links_are_judged_by_their_target)
{
	dir_write("elsewhere", WITH_PORT(""));
	ck_assert_int_eq(symlink("../elsewhere", "rules.d/a.json"), 0);
	read_rules();
	ck_assert(rules.files[0].valid);
	ck_assert_int_eq(chmod("elsewhere", 0664), 0);
	expect_refused("written by its group");
}
END_TEST

START_TEST(untrusted_files)
{
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(chmod("rules.d/a.json", 0620), 0);
	expect_refused("its group");
	ck_assert_int_eq(chmod("rules.d/a.json", 0602), 0);
	expect_refused("everybody");
	ck_assert_int_eq(chmod("rules.d/a.json", 0600), 0);
	read_rules();
	ck_assert(rules.files[0].valid);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown("rules.d/a.json", 12345, (gid_t)-1), 0);
		expect_refused("belongs to user 12345");
	}
}
END_TEST

START_TEST(unreadable_as_somebody_else)
{
	struct nb_network network;

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(chmod("rules.d/a.json", 0600), 0);
	ck_assert_int_eq(chmod(".", 0755), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	expect_refused("permission denied; run it as root");
	ck_assert(nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chmod("rules.d", 0700), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	nb_rules_clear(&rules);
	ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EACCES);
	ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(untrusted_directories)
{
	static const mode_t modes[] = { 0775, 0757, 01777 };

	for (size_t i = 0; i < COUNT(modes); i++) {
		ck_assert_int_eq(chmod("rules.d", modes[i]), 0);
		ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EPERM);
		ck_assert_int_eq(err.status, NB_STATUS_FAILED);
		ck_assert_ptr_nonnull(
			strstr(err.message, modes[i] == 01777 ? "name another one" : "chmod go-w"));
		ck_assert_ptr_null(rules.files);
	}
	ck_assert_int_eq(chmod("rules.d", 0755), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown("rules.d", 12345, (gid_t)-1), 0);
		ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EPERM);
		ck_assert_ptr_nonnull(strstr(err.message, "user 12345"));
		ck_assert_int_eq(chown("rules.d", 0, (gid_t)-1), 0);
	}
	/* Its parents are none of our business. */
	ck_assert_int_eq(chmod(".", 0777), 0);
	read_rules();
	dir_write("file", "");
	nb_rules_clear(&rules);
	ck_assert_int_eq(nb_rules_read("file", &rules, &warnings, &err), -ENOTDIR);
}
END_TEST

START_TEST(too_large)
{
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(truncate("rules.d/a.json", ((off_t)64 << 20) + 1), 0);
	expect_refused("larger than 64 MiB");
}
END_TEST

START_TEST(mentions)
{
	static const struct {
		const char *text;
		bool mentions; /* iface:br0, 80 */
	} rows[] = {
		{ "{ \"network\": \"iface:br0\", \"port\": 80, }", true },
		{ "br0 80", true },
		{ "80br0", true },
		{ "br0 0080", true },
		{ "br0 80.0", true },
		{ "br0 8080 80", true },
		{ "br0 8080", false },
		{ "br0 800", false },
		{ "br0 180", false },
		{ "br0 1080", false },
		{ "br1 80", false },
		{ "x", false },
	};
	struct nb_network network;

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		dir_write("rules.d/a.json", rows[i].text);
		read_rules();
		ck_assert(!rules.files[0].valid);
		ck_assert_msg(nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80) ==
				      rows[i].mentions,
			      "%s", rows[i].text);
	}
	dir_write("rules.d/a.json", "");
	read_rules();
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
}
END_TEST

/* All tests here run in a directory of their own. */
static void add(Suite *suite, const char *name, const TTest *test)
{
	unit_add_between(suite, name, test, setup, teardown);
}

int main(void)
{
	Suite *suite = suite_create("rules");

	add(suite, "missing_and_empty_directory", missing_and_empty_directory);
	add(suite, "reads_all_that_a_file_can_say", reads_all_that_a_file_can_say);
	add(suite, "same_mapping_twice_merges", same_mapping_twice_merges);
	add(suite, "many_repetitions_are_counted", many_repetitions_are_counted);
	add(suite, "later_file_of_a_conflict_is_invalid", later_file_of_a_conflict_is_invalid);
	add(suite, "files_are_read_in_name_order", files_are_read_in_name_order);
	add(suite, "what_is_no_regular_file", what_is_no_regular_file);
	add(suite, "links_are_judged_by_their_target", links_are_judged_by_their_target);
	add(suite, "untrusted_files", untrusted_files);
	add(suite, "unreadable_as_somebody_else", unreadable_as_somebody_else);
	add(suite, "untrusted_directories", untrusted_directories);
	add(suite, "too_large", too_large);
	add(suite, "mentions", mentions);
	return unit_run(suite);
}
