/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "dir.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void dir_enter(void)
{
	const char *base = getenv("TMPDIR");
	char path[4096];

	snprintf(path, sizeof(path), "%s/nat-bridge-unit.XXXXXX", base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(path));
	ck_assert_int_eq(chdir(path), 0);
	/* What the tests expect must not depend on the caller's. */
	umask(022);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level ? remove(path) : 0;
}

void dir_leave(void)
{
	char path[4096];

	ck_assert_ptr_nonnull(getcwd(path, sizeof(path)));
	ck_assert_ptr_nonnull(strstr(path, "/nat-bridge-unit."));
	ck_assert_int_eq(nftw(".", remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(rmdir(path), 0);
}

void dir_write_bytes(const char *path, const void *bytes, size_t length)
{
	int fd;

	/* Afresh: ext4 syncs a file that was cut to nothing and written again. */
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	ck_assert_msg(fd >= 0, "%s", path);
	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	ck_assert_int_eq(close(fd), 0);
}

void dir_write(const char *path, const char *text)
{
	dir_write_bytes(path, text, strlen(text));
}

char *dir_read(const char *path)
{
	FILE *stream = fopen(path, "r");
	size_t size = 0;
	char *text = NULL;

	if (!stream)
		return NULL;
	if (getdelim(&text, &size, '\0', stream) < 0 && text)
		text[0] = '\0';
	fclose(stream);
	return text;
}

bool dir_exists(const char *path)
{
	struct stat st;

	return !lstat(path, &st);
}

size_t dir_count(const char *path)
{
	DIR *stream = opendir(path);
	size_t count = 0;

	ck_assert_ptr_nonnull(stream);
	while (readdir(stream))
		count++;
	closedir(stream);
	return count - 2;
}
