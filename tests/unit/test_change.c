/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writing rule files: what a change says, and what it leaves at each step. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "changes.h"
#include "unit.h"

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

static void add(Suite *suite, const char *name, const TTest *test)
{
	unit_add_between(suite, name, test, dir_enter, teardown);
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
	return unit_run(suite);
}
