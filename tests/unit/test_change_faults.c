/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of rule files that fail: nothing is left, and the message says why. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "changes.h"
#include "unit.h"

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
	/* an older removal is not forgotten with this one: whoever ends it clears it away */
	expect(PATH(".mine.json.json.gone"), "stale");
	commit();
	ck_assert_uint_eq(dir_count(DIRECTORY), 2);
	ck_assert_int_eq(nb_rules_tidy(DIRECTORY, true, &err), 1);
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
	ck_assert_int_eq(mkdir(PATH(".mine.json.json.gone"), 0755), 0);
	begin_remove();
	ck_assert_int_eq(put("iface:br7", 7, "7"), 1);
	ck_assert_int_eq(take("iface:br0", 80), 1);
	ck_assert_int_eq(take("iface:br9", 9), 1);
	ck_assert_int_lt(nb_change_prepare(change, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.message, "cannot set aside " PATH("mine.json")));
	ck_assert_uint_eq(dir_count(DIRECTORY), 4);
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
	unit_add_between(suite, name, test, dir_enter, teardown);
}

int main(void)
{
	Suite *suite = suite_create("change faults");

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
