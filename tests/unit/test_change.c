/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing rule files: what a change says, and what it leaves at each step. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "nat-bridge/rules.h"
#include "unit.h"

#define DIRECTORY  "etc/nat-bridge/rules.d"
#define PATH(name) DIRECTORY "/" name
#define BR0_80	   "iface.br0-80-tcp.json"

static struct nb_rules rules;
static struct nb_warnings warnings;
static struct nb_error err;
static struct nb_change *change;

static void make_directory(void)
{
	mkdir("etc", 0755);
	mkdir("etc/nat-bridge", 0755);
	ck_assert_int_eq(mkdir(DIRECTORY, 0755), 0);
}

static void teardown(void)
{
	nb_change_free(change);
	change = NULL;
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	dir_leave();
}

static void read_rules(void)
{
	nb_change_free(change);
	change = NULL;
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	ck_assert_msg(!nb_rules_read(DIRECTORY, &rules, &warnings, &err), "%s", err.message);
}

/* A fresh reading and a change of it. */
static void begin_add(void)
{
	read_rules();
	change = nb_change_new_add(&rules);
	ck_assert_ptr_nonnull(change);
}

static void begin_remove(void)
{
	read_rules();
	change = nb_change_new_remove(&rules);
	ck_assert_ptr_nonnull(change);
}

static struct nb_mapping make(const char *network, unsigned int port, const char *target)
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

static int put(const char *network, unsigned int port, const char *target)
{
	struct nb_mapping mapping = make(network, port, target);

	return nb_change_put(change, &mapping, &err);
}

static int take(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_change_take(change, &mapping, &err);
}

static const char *file_of(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_change_file_of(change, &mapping);
}

static void prepare(void)
{
	ck_assert_msg(!nb_change_prepare(change, &err), "%s", err.message);
}

static void commit(void)
{
	ck_assert_msg(!nb_change_commit(change, &err), "%s", err.message);
}

static void expect(const char *path, const char *text)
{
	char *found = dir_read(path);

	ck_assert_msg(found != NULL, "%s is missing", path);
	ck_assert_str_eq(found, text);
	free(found);
}

static const struct nb_mapping *find(const char *network, unsigned int port)
{
	struct nb_mapping mapping = make(network, port, "1");

	return nb_rules_find(&rules, &mapping.network, mapping.protocol, mapping.port);
}

static const char one_file[] = "{\n"
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

/* Adding */

START_TEST(add_makes_the_directory)
{
	struct stat st;

	umask(077);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	ck_assert_str_eq(file_of("iface:br0", 80), BR0_80);
	ck_assert(!dir_exists("etc"));
	prepare();
	expect(PATH("." BR0_80 ".new"), one_file);
	ck_assert(!dir_exists(PATH(BR0_80)));
	commit();
	expect(PATH(BR0_80), one_file);
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
	ck_assert_int_eq(stat(PATH(BR0_80), &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0644);
	ck_assert_int_eq(stat("etc", &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0755);
	ck_assert_int_eq(stat(DIRECTORY, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0755);
}
END_TEST

START_TEST(add_abandoned_leaves_nothing)
{
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	prepare();
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	ck_assert(!dir_exists("etc"));
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);

	/* What somebody put there meanwhile stays. */
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	prepare();
	dir_write(PATH("mine"), "");
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
}
END_TEST

START_TEST(what_is_there_already_is_no_change)
{
	struct nb_mapping mapping;

	make_directory();
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	ck_assert_int_eq(put("iface:br0", 80, "80"), 0);
	prepare();
	commit();
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 0);
	ck_assert_str_eq(file_of("iface:br0", 80), BR0_80);
	ck_assert_ptr_null(file_of("iface:br0", 81));
	prepare();
	commit();
	expect(PATH(BR0_80), one_file);

	/* Each part makes a difference. */
	mapping = make("iface:br0", 80, "80");
	mapping.enabled = false;
	ck_assert_int_eq(nb_change_put(change, &mapping, &err), 1);
	begin_add();
	mapping = make("iface:br0", 80, "80");
	mapping.until = 1795412961;
	ck_assert_int_eq(nb_change_put(change, &mapping, &err), 1);
	begin_add();
	mapping = make("iface:br0", 80, "80");
	mapping.external = true;
	ck_assert_int_eq(nb_change_put(change, &mapping, &err), 1);
	begin_add();
	mapping = make("iface:br0", 80, "80");
	mapping.comment = (char[]){ "" };
	ck_assert_int_eq(nb_change_put(change, &mapping, &err), 1);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "81"), 1);
}
END_TEST

START_TEST(everything_survives_a_round_trip)
{
	struct nb_mapping mapping = make("iface:a%\x26<", 53, "127.0.0.54:5353");
	const struct nb_mapping *found;

	mapping.protocol = IPPROTO_UDP;
	mapping.enabled = false;
	mapping.external = true;
	mapping.until = 1795412961;
	mapping.comment = (char[]){ "\"R\303\244G\" \\ \360\237\230\200" };
	begin_add();
	ck_assert_int_eq(nb_change_put(change, &mapping, &err), 1);
	ck_assert_str_eq(nb_change_file_of(change, &mapping), "iface.a%25%26%3C-53-udp.json");
	prepare();
	commit();
	read_rules();
	ck_assert_ptr_null(nb_rules_invalid(&rules));
	found = nb_rules_find(&rules, &mapping.network, IPPROTO_UDP, 53);
	ck_assert_ptr_nonnull(found);
	ck_assert(nb_target_equal(&found->target, &mapping.target));
	ck_assert(!found->enabled && found->external);
	ck_assert_int_eq(found->until, mapping.until);
	ck_assert_str_eq(found->comment, mapping.comment);
}
END_TEST

START_TEST(unfit_comments_are_refused)
{
	struct nb_mapping mapping = make("iface:br0", 80, "80");
	char comment[300];

	begin_add();
	for (int i = 0; i < 4; i++) {
		memset(comment, 'x', sizeof(comment));
		comment[i == 3 ? 255 : 256] = '\0';
		if (i == 1)
			strcpy(comment, "a\nb");
		if (i == 2)
			strcpy(comment, "\xff");
		mapping.comment = comment;
		ck_assert_int_eq(nb_change_put(change, &mapping, &err), i == 3 ? 1 : -EINVAL);
		ck_assert(i == 3 || err.status == NB_STATUS_USAGE);
	}
}
END_TEST

static const char hand_written[] =
	"{ \"mappings\": [ \n"
	"  { \"network\": \"iface:br9\", \"port\": 9, \"comment\": \"nine\" },\n"
	"  { \"network\": \"iface:br1\", \"port\": 1 } ],\n"
	"  \"$schema\": \"../s\\u001f.json\" }\n";

START_TEST(a_key_is_replaced_where_it_is)
{
	struct stat st;

	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	ck_assert_int_eq(chmod(PATH("mine.json"), 0600), 0);
	begin_add();
	ck_assert_int_eq(put("iface:br9", 9, "127.0.0.2:99"), 1);
	ck_assert_str_eq(file_of("iface:br9", 9), "mine.json");
	prepare();
	expect(PATH("mine.json"), hand_written);
	commit();
	/* The order and the schema stay, the layout does not. */
	expect(PATH("mine.json"), "{\n"
				  "  \"$schema\": \"../s\\u001f.json\",\n"
				  "  \"version\": 1,\n"
				  "  \"mappings\": [\n"
				  "    {\n"
				  "      \"network\": \"iface:br9\",\n"
				  "      \"port\": 9,\n"
				  "      \"protocol\": \"tcp\",\n"
				  "      \"target\": \"127.0.0.2:99\"\n"
				  "    },\n"
				  "    {\n"
				  "      \"network\": \"iface:br1\",\n"
				  "      \"port\": 1,\n"
				  "      \"protocol\": \"tcp\",\n"
				  "      \"target\": \"127.0.0.1:1\"\n"
				  "    }\n"
				  "  ]\n"
				  "}\n");
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
	ck_assert_int_eq(stat(PATH("mine.json"), &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(a_taken_name_gets_the_mapping_too)
{
	make_directory();
	dir_write(PATH(BR0_80), hand_written);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	ck_assert_str_eq(file_of("iface:br0", 80), BR0_80);
	prepare();
	commit();
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert_uint_eq(rules.mappings.count, 3);
	ck_assert_uint_gt(find("iface:br0", 80)->line, find("iface:br1", 1)->line);
	ck_assert_str_eq(rules.files[0].schema, "../s\x1f.json");
}
END_TEST

START_TEST(an_invalid_file_in_the_way)
{
	make_directory();
	dir_write(PATH(BR0_80), "{\n\"mappings\":0}");
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), -EINVAL);
	ck_assert_int_eq(err.status, NB_STATUS_USAGE);
	ck_assert_str_eq(err.file, PATH(BR0_80));
	ck_assert_uint_eq(err.line, 2);
	ck_assert_str_eq(err.key, "mappings");
	ck_assert_ptr_nonnull(strstr(err.message, "mend or delete"));
}
END_TEST

START_TEST(the_last_word_counts)
{
	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "81"), 1);
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	ck_assert_int_eq(put("iface:br0", 81, "80"), 1);
	ck_assert_int_eq(take("iface:br0", 81), 1);
	ck_assert_int_eq(take("iface:br0", 81), 0);
	ck_assert_int_eq(take("iface:br9", 9), 1);
	ck_assert_int_eq(put("iface:br9", 9, "10"), 1);
	ck_assert_int_eq(take("iface:br1", 1), 1);
	ck_assert_int_eq(take("iface:br2", 2), 0);
	prepare();
	commit();
	read_rules();
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_uint_eq(rules.file_count, 2);
	ck_assert_uint_eq(find("iface:br9", 9)->target.port, 10);
	expect(PATH(BR0_80), one_file);
	ck_assert_uint_eq(dir_count(DIRECTORY), 2);
}
END_TEST

START_TEST(an_add_that_empties_a_file)
{
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	begin_add();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(put("iface:br0", 81, "81"), 1);
	prepare();
	expect(PATH(BR0_80), one_file);
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
	ck_assert(dir_exists(PATH("iface.br0-81-tcp.json")));
}
END_TEST

/* Removing */

START_TEST(remove_of_a_whole_file)
{
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(take("iface:br0", 81), 0);
	ck_assert_str_eq(file_of("iface:br0", 80), BR0_80);
	prepare();
	ck_assert(!dir_exists(PATH(BR0_80)));
	expect(PATH("." BR0_80 ".gone"), one_file);
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 0);
}
END_TEST

START_TEST(remove_of_a_part)
{
	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	begin_remove();
	ck_assert_int_eq(take("iface:br9", 9), 1);
	prepare();
	expect(PATH(".mine.json.gone"), hand_written);
	ck_assert(!dir_exists(PATH(".mine.json.new")));
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
	read_rules();
	ck_assert_uint_eq(rules.mappings.count, 1);
	ck_assert_str_eq(rules.files[0].schema, "../s\x1f.json");
	ck_assert_ptr_nonnull(find("iface:br1", 1));
}
END_TEST

START_TEST(remove_abandoned_restores)
{
	struct stat before;
	struct stat after;

	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	dir_write(PATH(BR0_80), one_file);
	ck_assert_int_eq(stat(PATH("mine.json"), &before), 0);
	begin_remove();
	ck_assert_int_eq(take("iface:br9", 9), 1);
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(put("iface:br0", 81, "81"), 1);
	prepare();
	ck_assert(dir_exists(PATH("iface.br0-81-tcp.json")));
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	expect(PATH("mine.json"), hand_written);
	expect(PATH(BR0_80), one_file);
	ck_assert_uint_eq(dir_count(DIRECTORY), 2);
	ck_assert_int_eq(stat(PATH("mine.json"), &after), 0);
	ck_assert_uint_eq(before.st_ino, after.st_ino);
}
END_TEST

START_TEST(remove_takes_repetitions_along)
{
	make_directory();
	dir_write(PATH("a.json"), one_file);
	dir_write(PATH("b.json"), one_file);
	dir_write(PATH("c.json"), "{\"mappings\":[{\"network\":\"iface:br0\",\"port\":80},"
				  "{\"network\":\"iface:br0\",\"port\":80},"
				  "{\"network\":\"iface:br0\",\"port\":81}]}");
	begin_remove();
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_int_eq(take("iface:br0", 80), 1);
	prepare();
	commit();
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert_uint_eq(rules.mappings.count, 1);
	ck_assert_uint_eq(rules.repeated.count, 0);
}
END_TEST

START_TEST(replace_takes_repetitions_along)
{
	make_directory();
	dir_write(PATH("a.json"), one_file);
	dir_write(PATH("b.json"), one_file);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "8080"), 1);
	prepare();
	commit();
	read_rules();
	ck_assert_ptr_null(nb_rules_invalid(&rules));
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert_str_eq(rules.files[0].name, "a.json");
	ck_assert_uint_eq(find("iface:br0", 80)->target.port, 8080);
}
END_TEST

START_TEST(a_rewrite_keeps_others_repetitions)
{
	make_directory();
	dir_write(PATH("a.json"), one_file);
	dir_write(PATH("b.json"), "{\"mappings\":[{\"network\":\"iface:br0\",\"port\":80},"
				  "{\"network\":\"iface:br0\",\"port\":81}]}");
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 81), 1);
	prepare();
	commit();
	read_rules();
	expect(PATH("b.json"), one_file);
}
END_TEST

/* Faults */

START_TEST(states_are_checked)
{
	make_directory();
	begin_add();
	ck_assert_int_eq(nb_change_commit(change, &err), -EINVAL);
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	begin_add();
	prepare();
	ck_assert_int_eq(nb_change_prepare(change, &err), -EINVAL);
	commit();
	ck_assert_int_eq(nb_change_commit(change, &err), -EINVAL);
	nb_change_free(NULL);
}
END_TEST

START_TEST(stale_companions_are_in_nobodys_way)
{
	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	dir_write(PATH(".mine.json.new"), "stale");
	dir_write(PATH(".mine.json.gone"), "stale");
	begin_remove();
	ck_assert_uint_eq(rules.unfinished_count, 1);
	ck_assert_int_eq(take("iface:br9", 9), 1);
	prepare();
	expect(PATH(".mine.json.gone"), hand_written);
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
}
END_TEST

/* A directory in the place of a companion is what even root cannot write over. */
START_TEST(a_failed_prepare_leaves_nothing)
{
	for (int remove = 0; remove < 2; remove++) {
		if (!dir_exists(DIRECTORY))
			make_directory();
		dir_write(PATH("a.json"), one_file);
		dir_write(PATH("mine.json"), hand_written);
		ck_assert_int_eq(mkdir(PATH(".mine.json.new"), 0755), 0);
		if (remove)
			begin_remove();
		else
			begin_add();
		ck_assert_int_eq(take("iface:br0", 80), 1);
		ck_assert_int_eq(put("iface:br7", 7, "7"), 1);
		ck_assert_int_eq(put("iface:br9", 9, "99"), 1);
		ck_assert_int_lt(nb_change_prepare(change, &err), 0);
		ck_assert_int_eq(err.status, NB_STATUS_FAILED);
		ck_assert_str_eq(err.file, PATH("mine.json"));
		ck_assert_uint_eq(dir_count(DIRECTORY), 3);
		expect(PATH("mine.json"), hand_written);
		expect(PATH("a.json"), one_file);
		ck_assert_int_eq(rmdir(PATH(".mine.json.new")), 0);
	}
}
END_TEST

START_TEST(a_failed_setting_aside_is_undone)
{
	make_directory();
	dir_write(PATH("a.json"), one_file);
	dir_write(PATH("mine.json"), hand_written);
	ck_assert_int_eq(mkdir(PATH(".mine.json.gone"), 0755), 0);
	begin_remove();
	ck_assert_int_eq(put("iface:br7", 7, "7"), 1);
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(take("iface:br9", 9), 1);
	ck_assert_int_lt(nb_change_prepare(change, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot set aside " PATH("mine.json")));
	ck_assert_uint_eq(dir_count(DIRECTORY), 3);
	expect(PATH("mine.json"), hand_written);
	expect(PATH("a.json"), one_file);
}
END_TEST

START_TEST(a_failed_commit_is_undone)
{
	make_directory();
	dir_write(PATH("a.json"), one_file);
	dir_write(PATH("mine.json"), hand_written);
	begin_add();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(put("iface:br9", 9, "99"), 1);
	ck_assert_int_eq(put("iface:br7", 7, "7"), 1);
	ck_assert_int_eq(put("iface:br8", 8, "8"), 1);
	prepare();
	/* The last of the four cannot be put in force. */
	ck_assert_int_eq(mkdir(PATH("iface.br8-8-tcp.json"), 0755), 0);
	ck_assert_int_lt(nb_change_commit(change, &err), 0);
	ck_assert_str_eq(err.file, PATH("iface.br8-8-tcp.json"));
	expect(PATH("mine.json"), hand_written);
	expect(PATH("a.json"), one_file);
	ck_assert(!dir_exists(PATH("iface.br7-7-tcp.json")));
	/* Still prepared: it can be repeated, or abandoned. */
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	ck_assert_int_eq(rmdir(PATH("iface.br8-8-tcp.json")), 0);
	ck_assert_uint_eq(dir_count(DIRECTORY), 2);
	expect(PATH("mine.json"), hand_written);
}
END_TEST

START_TEST(a_failed_commit_can_be_repeated)
{
	make_directory();
	dir_write(PATH("mine.json"), hand_written);
	begin_add();
	ck_assert_int_eq(put("iface:br9", 9, "99"), 1);
	ck_assert_int_eq(put("iface:br8", 8, "8"), 1);
	prepare();
	ck_assert_int_eq(mkdir(PATH("iface.br8-8-tcp.json"), 0755), 0);
	ck_assert_int_lt(nb_change_commit(change, &err), 0);
	ck_assert_int_eq(rmdir(PATH("iface.br8-8-tcp.json")), 0);
	commit();
	read_rules();
	ck_assert_uint_eq(rules.mappings.count, 3);
	ck_assert_uint_eq(dir_count(DIRECTORY), 2);
	ck_assert_uint_eq(find("iface:br9", 9)->target.port, 99);
}
END_TEST

START_TEST(a_removal_that_cannot_be_finished)
{
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	prepare();
	ck_assert_int_eq(unlink(PATH("." BR0_80 ".gone")), 0);
	ck_assert_int_eq(mkdir(PATH("." BR0_80 ".gone"), 0755), 0);
	ck_assert_int_lt(nb_change_commit(change, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot finish the removal of"));
}
END_TEST

START_TEST(a_restoration_that_fails_is_named)
{
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	prepare();
	ck_assert_int_eq(unlink(PATH("." BR0_80 ".gone")), 0);
	ck_assert_int_eq(nb_change_abandon(change, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot restore"));
}
END_TEST

START_TEST(names_that_are_too_long)
{
	char name[260];
	char path[400];

	for (int length = 249; length <= 250; length++) {
		make_directory();
		memset(name, 'n', sizeof(name));
		strcpy(name + length - 5, ".json");
		snprintf(path, sizeof(path), DIRECTORY "/%s", name);
		dir_write(path, hand_written);
		begin_remove();
		ck_assert_int_eq(take("iface:br9", 9), 1);
		ck_assert_int_eq(nb_change_prepare(change, &err),
				 length == 249 ? 0 : -ENAMETOOLONG);
		ck_assert_int_eq(nb_change_abandon(change, &err), 0);
		expect(path, hand_written);
		begin_remove();
		ck_assert_int_eq(take("iface:br9", 9), 1);
		ck_assert_int_eq(take("iface:br1", 1), 1);
		ck_assert_int_eq(nb_change_prepare(change, &err),
				 length == 249 ? 0 : -ENAMETOOLONG);
		ck_assert_int_eq(nb_change_abandon(change, &err), 0);
		expect(path, hand_written);
		ck_assert_int_eq(unlink(path), 0);
		ck_assert_int_eq(rmdir(DIRECTORY), 0);
	}
}
END_TEST

START_TEST(what_cannot_be_a_directory)
{
	begin_add();
	ck_assert_int_eq(put("iface:br0", 80, "80"), 1);
	dir_write("etc", "a file");
	ck_assert_int_lt(nb_change_prepare(change, &err), 0);
	ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	ck_assert_str_eq(err.file, DIRECTORY);
	expect("etc", "a file");
	ck_assert_int_eq(unlink("etc"), 0);

	/* It went away, or went bad, between reading and writing. */
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(chmod(DIRECTORY, 0777), 0);
	ck_assert_int_eq(nb_change_prepare(change, &err), -EPERM);
	expect(PATH(BR0_80), one_file);
	ck_assert_int_eq(chmod(DIRECTORY, 0755), 0);
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(rename("etc", "usr"), 0);
	ck_assert_int_eq(nb_change_prepare(change, &err), -ENOENT);
	ck_assert(!dir_exists("etc"));
}
END_TEST

START_TEST(without_permission)
{
	if (geteuid() != 0)
		return;
	make_directory();
	dir_write(PATH(BR0_80), one_file);
	ck_assert_int_eq(chmod(".", 0755), 0);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 81, "81"), 1);
	ck_assert_int_eq(seteuid(65534), 0);
	ck_assert_int_eq(nb_change_prepare(change, &err), -EACCES);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	ck_assert_str_eq(err.code, "write");
	ck_assert_str_eq(err.message,
			 "cannot write " PATH("iface.br0-81-tcp.json") ": permission "
								       "denied; run it as root");
}
END_TEST

/* A file system of one page, which is full; then a read-only one. In a mount namespace of ours. */
START_TEST(without_room)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return;
	make_directory();
	if (mount("none", DIRECTORY, "tmpfs", 0, "size=4096,mode=755"))
		return;
	dir_write(PATH(BR0_80), one_file);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 81, "81"), 1);
	ck_assert_int_eq(nb_change_prepare(change, &err), -ENOSPC);
	ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	ck_assert_str_eq(err.file, PATH("iface.br0-81-tcp.json"));
	ck_assert_ptr_nonnull(strstr(err.message, "the file system is full"));
	ck_assert_uint_eq(dir_count(DIRECTORY), 1);
	/* Taking away needs no room. */
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	prepare();
	ck_assert_int_eq(nb_change_abandon(change, &err), 0);
	expect(PATH(BR0_80), one_file);

	ck_assert_int_eq(mount(NULL, DIRECTORY, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	begin_add();
	ck_assert_int_eq(put("iface:br0", 81, "81"), 1);
	ck_assert_int_eq(nb_change_prepare(change, &err), -EROFS);
	ck_assert_ptr_nonnull(strstr(err.message, "mounted read-only"));
	begin_remove();
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(nb_change_prepare(change, &err), -EROFS);
	expect(PATH(BR0_80), one_file);
	nb_change_free(change);
	change = NULL;
	ck_assert_int_eq(umount(DIRECTORY), 0);
}
END_TEST

START_TEST(many_files_at_once)
{
	make_directory();
	begin_add();
	for (unsigned int port = 1; port <= 300; port++)
		ck_assert_int_eq(put("iface:br0", port, "80"), 1);
	prepare();
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 300);
	begin_remove();
	ck_assert_uint_eq(rules.mappings.count, 300);
	for (unsigned int port = 300; port >= 1; port--)
		ck_assert_int_eq(take("iface:br0", port), 1);
	prepare();
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 0);
}
END_TEST

START_TEST(tidy)
{
	ck_assert_int_eq(nb_rules_tidy(DIRECTORY, true, &err), 0);
	make_directory();
	dir_write(PATH(".a.json.new"), "");
	dir_write(PATH(".b.json.new"), "");
	dir_write(PATH(".a.json.gone"), "");
	dir_write(PATH("a.json.new"), "not ours");
	dir_write(PATH(".json.new"), "not ours");
	dir_write(PATH(".a.new"), "not ours");
	ck_assert_int_eq(mkdir(PATH(".d.json.new"), 0755), 0);
	ck_assert_int_eq(nb_rules_tidy(DIRECTORY, false, &err), 2);
	ck_assert_uint_eq(dir_count(DIRECTORY), 5);
	ck_assert_int_eq(nb_rules_tidy(DIRECTORY, true, &err), 1);
	ck_assert_int_eq(nb_rules_tidy(DIRECTORY, true, &err), 0);
	ck_assert_uint_eq(dir_count(DIRECTORY), 4);
	ck_assert_int_eq(nb_rules_tidy(PATH("a.json.new"), true, &err), -ENOTDIR);
}
END_TEST

static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, dir_enter, teardown);
	tcase_add_test(tcase, test);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("change");

	add(suite, "add_makes_the_directory", add_makes_the_directory);
	add(suite, "add_abandoned_leaves_nothing", add_abandoned_leaves_nothing);
	add(suite, "what_is_there_already_is_no_change", what_is_there_already_is_no_change);
	add(suite, "everything_survives_a_round_trip", everything_survives_a_round_trip);
	add(suite, "unfit_comments_are_refused", unfit_comments_are_refused);
	add(suite, "a_key_is_replaced_where_it_is", a_key_is_replaced_where_it_is);
	add(suite, "a_taken_name_gets_the_mapping_too", a_taken_name_gets_the_mapping_too);
	add(suite, "an_invalid_file_in_the_way", an_invalid_file_in_the_way);
	add(suite, "the_last_word_counts", the_last_word_counts);
	add(suite, "an_add_that_empties_a_file", an_add_that_empties_a_file);
	add(suite, "remove_of_a_whole_file", remove_of_a_whole_file);
	add(suite, "remove_of_a_part", remove_of_a_part);
	add(suite, "remove_abandoned_restores", remove_abandoned_restores);
	add(suite, "remove_takes_repetitions_along", remove_takes_repetitions_along);
	add(suite, "replace_takes_repetitions_along", replace_takes_repetitions_along);
	add(suite, "a_rewrite_keeps_others_repetitions", a_rewrite_keeps_others_repetitions);
	add(suite, "states_are_checked", states_are_checked);
	add(suite, "stale_companions_are_in_nobodys_way", stale_companions_are_in_nobodys_way);
	add(suite, "a_failed_prepare_leaves_nothing", a_failed_prepare_leaves_nothing);
	add(suite, "a_failed_setting_aside_is_undone", a_failed_setting_aside_is_undone);
	add(suite, "a_failed_commit_is_undone", a_failed_commit_is_undone);
	add(suite, "a_failed_commit_can_be_repeated", a_failed_commit_can_be_repeated);
	add(suite, "a_removal_that_cannot_be_finished", a_removal_that_cannot_be_finished);
	add(suite, "a_restoration_that_fails_is_named", a_restoration_that_fails_is_named);
	add(suite, "names_that_are_too_long", names_that_are_too_long);
	add(suite, "what_cannot_be_a_directory", what_cannot_be_a_directory);
	add(suite, "without_permission", without_permission);
	add(suite, "without_room", without_room);
	add(suite, "many_files_at_once", many_files_at_once);
	add(suite, "tidy", tidy);
	return unit_run(suite);
}
