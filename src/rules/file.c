/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../model/text.h"

bool nb_has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name);
	size_t tail = strlen(suffix);

	return length > tail && !strcmp(name + length - tail, suffix);
}

static int place(struct nb_error *err, const char *path, int r)
{
	if (err)
		nb_copy_line(err->file, sizeof(err->file), path);
	return r;
}

static const char *error_words(int number)
{
	switch (number) {
	case ENOSPC:
		return "the file system is full; free some space (df shows it) and repeat";
	case EDQUOT:
		return "the disk quota is used up; free some space (quota shows it) and repeat";
	case EROFS:
		return "the file system is mounted read-only; remount it, or name another "
		       "directory with --rules";
	case EACCES:
	case EPERM:
		if (geteuid() != 0)
			return "permission denied; run it as root";
		return "permission denied, even for root; look at its attributes (lsattr) and its "
		       "file system's mount options";
	case ELOOP:
		return "its symbolic links go in a circle; mend or delete them";
	case ENAMETOOLONG:
		return "the name is too long; rename it";
	default:
		return NULL;
	}
}

int nb_file_error(struct nb_error *err, struct nb_file_kind kind, int number, const char *verb,
		  const char *path)
{
	const char *words = error_words(number);
	int r;

	r = nb_error_set(err, kind.status, number, kind.code, "cannot %s %s: %s", verb, path,
			 words ? words : strerror(number));
	return place(err, path, r);
}

int nb_file_trust(const struct stat *st, struct nb_file_kind kind, const char *path,
		  struct nb_error *err)
{
	int r;

	if (st->st_uid != 0 && st->st_uid != geteuid()) {
		r = nb_error_set(err, kind.status, EPERM, kind.code,
				 "belongs to user %u, who could open ports of this host with it; "
				 "chown root it, if you trust what is in it",
				 (unsigned int)st->st_uid);
		return place(err, path, r);
	}
	if (S_ISDIR(st->st_mode) && (st->st_mode & S_ISVTX)) {
		r = nb_error_set(err, kind.status, EPERM, kind.code,
				 "is a directory for everybody's files; name another one");
		return place(err, path, r);
	}
	if (st->st_mode & (S_IWGRP | S_IWOTH)) {
		r = nb_error_set(err, kind.status, EPERM, kind.code,
				 "can be written by %s, who could open ports of this host with it; "
				 "chmod go-w it, if you trust what is in it",
				 st->st_mode & S_IWOTH ? "everybody" : "its group");
		return place(err, path, r);
	}
	return 0;
}

static int refuse_type(const struct stat *st, struct nb_file_kind kind, const char *path,
		       struct nb_error *err)
{
	const char *type = S_ISDIR(st->st_mode)	   ? "a directory"
			   : S_ISFIFO(st->st_mode) ? "a named pipe"
						   : "a device or a socket";
	int r;

	r = nb_error_set(err, kind.status, EINVAL, kind.code,
			 "is %s and no regular file; move it away", type);
	return place(err, path, r);
}

/* Up to @size bytes. The number read, or -errno. */
static ssize_t read_whole(int fd, char *text, size_t size)
{
	size_t length = 0;

	while (length < size) {
		ssize_t n = read(fd, text + length, size - length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		length += (size_t)n;
	}
	return (ssize_t)length;
}

static int open_file(int directory, const char *name, struct nb_file_kind kind, const char *path,
		     struct nb_error *err)
{
	struct stat st;
	int number;
	int fd;

	/* O_NONBLOCK: a pipe without a writer must not hold us up. */
	fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	number = errno;
	if (number == ENXIO && !fstatat(directory, name, &st, 0))
		return refuse_type(&st, kind, path, err);
	if (number != ENOENT)
		return nb_file_error(err, kind, number, "read", path);
	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW))
		return -ENOENT;
	number = nb_error_set(err, kind.status, ELOOP, kind.code,
			      "is a symbolic link to nothing; mend or delete it");
	return place(err, path, number);
}

int nb_file_load(int directory, const char *name, struct nb_file_kind kind, const char *path,
		 char **ret_text, size_t *ret_length, struct nb_error *err)
{
	struct stat st;
	char *text = NULL;
	ssize_t length;
	int r;
	int fd = open_file(directory, name, kind, path, err);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st)) {
		r = nb_file_error(err, kind, errno, "read", path);
		goto out;
	}
	if (!S_ISREG(st.st_mode)) {
		r = refuse_type(&st, kind, path, err);
		goto out;
	}
	r = nb_file_trust(&st, kind, path, err);
	if (r)
		goto out;
	if (st.st_size > (off_t)NB_FILE_MAX) {
		r = nb_error_set(err, kind.status, EFBIG, kind.code,
				 "is larger than 64 MiB; split it into several files");
		place(err, path, r);
		goto out;
	}
	/* One byte more than there is shows a file that grows meanwhile, and holds the NUL. */
	text = malloc((size_t)st.st_size + 1);
	if (!text) {
		r = nb_error_set(err, NB_STATUS_FAILED, ENOMEM, "memory", "out of memory");
		goto out;
	}
	length = read_whole(fd, text, (size_t)st.st_size + 1);
	if (length < 0) {
		r = nb_file_error(err, kind, (int)-length, "read", path);
		goto out;
	}
	if (length > st.st_size) {
		r = nb_error_set(err, kind.status, EAGAIN, kind.code,
				 "changed while it was read; repeat");
		place(err, path, r);
		goto out;
	}
	text[length] = '\0';
	*ret_length = (size_t)length;
	*ret_text = text;
	text = NULL;
out:
	free(text);
	close(fd);
	return r;
}
