/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a change reaches the disk. A file NAME has two companions, both ours:
 *
 *	.NAME.new	written and on disk, not in force yet
 *	.NAME.gone	what NAME was before a removal that is not finished
 *
 *		 prepare				commit
 * add		 write .new				swap NAME and .new, unlink .new
 * remove	 link NAME .gone, .new over NAME	unlink .gone
 * remove whole	 rename NAME .gone			unlink .gone
 *
 * Each step can be undone, so that of several files all change or none.
 */
#include "change.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYNC_EACH_MAX 32 /* above, one syncfs() is cheaper than as many fsync() */

/* A companion's name. */
struct dot_name {
	char text[NAME_MAX + 1];
};

static struct dot_name dot_name(const struct nb_change_file *file, const char *suffix)
{
	struct dot_name name;

	/* A cut name would be another file's: too long ones are refused before. */
	snprintf(name.text, sizeof(name.text), ".%s.%s", file->name, suffix);
	return name;
}

static int fail(const struct nb_change *change, int number, const char *verb,
		const struct nb_change_file *file, struct nb_error *err)
{
	char *path = nb_rules_path(change->rules->directory, file->name);
	int r = nb_file_error(err, NB_WRITE_KIND, number, verb, path ? path : file->name);

	free(path);
	return r;
}

static int sync_directory(const struct nb_change *change, struct nb_error *err)
{
	if (!fsync(change->directory))
		return 0;
	return nb_file_error(err, NB_WRITE_KIND, errno, "sync", change->rules->directory);
}

/* Only the fsync of its parent makes the new name @path last. */
static int sync_parent(char *path)
{
	char *slash = strrchr(path, '/');
	const char *parent = !slash ? "." : slash == path ? "/" : path;
	int r = 0;
	int fd;

	if (slash && slash != path)
		*slash = '\0';
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (slash)
		*slash = '/';
	if (fd < 0)
		return -errno;
	if (fsync(fd))
		r = -errno;
	close(fd);
	return r;
}

/* 0755, whatever the umask: `list` works as any user. (No chmod: it follows a symbolic link.) */
static int make_one(struct nb_change *change, const char *path)
{
	mode_t mask = umask(022);
	int r = mkdir(path, 0755) ? -errno : 0;
	char *copy;
	char **made;

	umask(mask);
	if (r)
		return r == -EEXIST ? 0 : r;
	copy = strdup(path);
	made = reallocarray(change->made, change->made_count + 1, sizeof(*made));
	if (made)
		change->made = made;
	if (!copy || !made) {
		free(copy);
		rmdir(path);
		return -ENOMEM;
	}
	made[change->made_count++] = copy;
	return sync_parent(copy);
}

static int make_directories(struct nb_change *change, struct nb_error *err)
{
	char *path = strdup(change->rules->directory);
	int r = 0;

	if (!path)
		return nb_rules_out_of_memory(err);
	for (char *at = path; *at && !r; at++) {
		if (at == path || *at != '/' || at[-1] == '/')
			continue;
		*at = '\0';
		r = make_one(change, path);
		*at = '/';
	}
	if (!r)
		r = make_one(change, path);
	free(path);
	if (r)
		return nb_file_error(err, NB_WRITE_KIND, -r, "make the directory",
				     change->rules->directory);
	return 0;
}

static int open_directory(struct nb_change *change, struct nb_error *err)
{
	const char *path = change->rules->directory;
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT && !change->remove) {
		int r = make_directories(change, err);

		if (r)
			return r;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (fd < 0)
		return nb_file_error(err, NB_WRITE_KIND, errno, "open", path);
	change->directory = fd;
	if (fstat(fd, &st))
		return nb_file_error(err, NB_WRITE_KIND, errno, "open", path);
	return nb_file_trust(&st, NB_DIRECTORY_KIND, path, err);
}

static int write_stream(struct nb_change *change, const struct nb_change_file *file, int fd,
			bool sync)
{
	const char *schema = NULL;
	struct stat st;
	FILE *stream;
	int r = 0;

	/* Whoever could read the old file, and no one else, reads the new one. */
	if (file->action == NB_CHANGE_REPLACE && !fstatat(change->directory, file->name, &st, 0)) {
		schema = change->rules->files[file->index].schema;
		if (fchown(fd, (uid_t)-1, st.st_gid))
			st.st_mode &= ~(mode_t)S_IRWXG;
		st.st_mode &= 0755;
	} else {
		st.st_mode = 0644;
	}
	if (fchmod(fd, st.st_mode)) {
		r = -errno;
		close(fd);
		return r;
	}
	stream = fdopen(fd, "w");
	if (!stream) {
		close(fd);
		return -ENOMEM;
	}
	nb_rules_print(stream, schema, file->mappings, file->mapping_count);
	if (fflush(stream) || ferror(stream) || (sync && fsync(fd)))
		r = errno ? -errno : -EIO;
	if (fclose(stream) && !r)
		r = -errno;
	return r;
}

static int write_new(struct nb_change *change, struct nb_change_file *file, bool sync,
		     struct nb_error *err)
{
	struct dot_name name = dot_name(file, "new");
	int fd;
	int r;

	if (strlen(file->name) + strlen("..gone") > NAME_MAX)
		return fail(change, ENAMETOOLONG, "write", file, err);
	if (unlinkat(change->directory, name.text, 0) && errno != ENOENT)
		return fail(change, errno, "write", file, err);
	fd = openat(change->directory, name.text,
		    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return fail(change, errno, "write", file, err);
	file->written = true;
	r = write_stream(change, file, fd, sync);
	return r ? fail(change, -r, "write", file, err) : 0;
}

static int write_all(struct nb_change *change, struct nb_error *err)
{
	bool many = change->file_count > SYNC_EACH_MAX;

	for (size_t i = 0; i < change->file_count; i++) {
		struct nb_change_file *file = &change->files[i];
		int r;

		if (file->action != NB_CHANGE_CREATE && file->action != NB_CHANGE_REPLACE)
			continue;
		r = write_new(change, file, !many, err);
		if (r)
			return r;
	}
	if (many && syncfs(change->directory))
		return nb_file_error(err, NB_WRITE_KIND, errno, "write", change->rules->directory);
	return 0;
}

/*
 * A removal from the same file that was not finished, and is with this one: until then it must not
 * be forgotten. The oldest holds all that younger ones do.
 */
static void keep_older(int directory, const struct nb_change_file *file)
{
	struct dot_name gone = dot_name(file, "gone");
	struct dot_name older = dot_name(file, "json.gone");

	if (strlen(file->name) + strlen("..json.gone") <= NAME_MAX)
		(void)renameat2(directory, gone.text, directory, older.text, RENAME_NOREPLACE);
}

/* remove, before the kernel is changed: the old file stays as .NAME.gone. */
static int set_aside(const struct nb_change *change, struct nb_change_file *file)
{
	struct dot_name fresh = dot_name(file, "new");
	struct dot_name gone = dot_name(file, "gone");
	int directory = change->directory;

	if (strlen(file->name) + strlen("..gone") > NAME_MAX)
		return -ENAMETOOLONG;
	keep_older(directory, file);
	if (file->action == NB_CHANGE_DELETE) {
		if (renameat(directory, file->name, directory, gone.text))
			return -errno;
		file->kept = true;
		file->done = true;
		return 0;
	}
	if (file->action == NB_CHANGE_REPLACE) {
		if (unlinkat(directory, gone.text, 0) && errno != ENOENT)
			return -errno;
		if (linkat(directory, file->name, directory, gone.text, 0))
			return -errno;
		file->kept = true;
	}
	if (renameat(directory, fresh.text, directory, file->name))
		return -errno;
	file->written = false;
	file->done = true;
	return 0;
}

/* Undo set_aside(). */
static int put_back(const struct nb_change *change, struct nb_change_file *file)
{
	struct dot_name gone = dot_name(file, "gone");
	int directory = change->directory;
	int r = 0;

	if (file->kept && file->done)
		r = renameat(directory, gone.text, directory, file->name);
	else if (file->kept)
		r = unlinkat(directory, gone.text, 0);
	else if (file->done && file->action == NB_CHANGE_CREATE)
		r = unlinkat(directory, file->name, 0);
	if (r)
		return -errno;
	file->kept = false;
	file->done = false;
	return 0;
}

/* add, after the kernel was changed. What was NAME becomes .NAME.new, for the way back. */
static int put_in_force(const struct nb_change *change, struct nb_change_file *file)
{
	struct dot_name fresh = dot_name(file, "new");
	int directory = change->directory;
	int r;

	if (file->action == NB_CHANGE_DELETE) {
		r = renameat(directory, file->name, directory, fresh.text);
		file->swapped = !r;
	} else if (file->action == NB_CHANGE_REPLACE) {
		r = renameat2(directory, fresh.text, directory, file->name, RENAME_EXCHANGE);
		file->swapped = !r;
		/* Not every file system can swap. Then there is no way back for this file. */
		if (r && (errno == EINVAL || errno == ENOSYS))
			r = renameat(directory, fresh.text, directory, file->name);
	} else {
		r = renameat(directory, fresh.text, directory, file->name);
	}
	if (r)
		return -errno;
	file->written = file->swapped;
	file->done = true;
	return 0;
}

/* Undo put_in_force(). */
static int put_out_of_force(const struct nb_change *change, struct nb_change_file *file)
{
	struct dot_name fresh = dot_name(file, "new");
	int directory = change->directory;
	int r;

	if (!file->done)
		return 0;
	if (file->action == NB_CHANGE_DELETE)
		r = renameat(directory, fresh.text, directory, file->name);
	else if (file->swapped)
		r = renameat2(directory, fresh.text, directory, file->name, RENAME_EXCHANGE);
	else if (file->action == NB_CHANGE_CREATE)
		r = renameat(directory, file->name, directory, fresh.text);
	else
		return -EINVAL;
	if (r)
		return -errno;
	file->written = file->action != NB_CHANGE_DELETE;
	file->swapped = false;
	file->done = false;
	return 0;
}

/* One step on every file; on failure it is undone where it was done. */
static int step_all(struct nb_change *change,
		    int (*step)(const struct nb_change *change, struct nb_change_file *file),
		    int (*back)(const struct nb_change *change, struct nb_change_file *file),
		    const char *verb, struct nb_error *err)
{
	size_t failed = 0;
	int r = 0;

	while (failed < change->file_count) {
		struct nb_change_file *file = &change->files[failed];

		if (file->action != NB_CHANGE_NOTHING) {
			int number = step(change, file);

			if (number) {
				r = fail(change, -number, verb, file, err);
				break;
			}
		}
		failed++;
	}
	if (!r)
		r = sync_directory(change, err);
	if (!r)
		return 0;
	for (size_t i = 0; i < change->file_count; i++)
		back(change, &change->files[i]);
	return r;
}

/* Take everything away that prepare left, apart from what is in force. */
static void clean(struct nb_change *change)
{
	for (size_t i = 0; i < change->file_count; i++) {
		struct nb_change_file *file = &change->files[i];
		struct dot_name fresh = dot_name(file, "new");

		if (file->written)
			unlinkat(change->directory, fresh.text, 0);
		file->written = false;
	}
}

static void unmake_directories(struct nb_change *change)
{
	while (change->made_count) {
		char *path = change->made[--change->made_count];

		rmdir(path);
		free(path);
	}
}

int nb_change_prepare(struct nb_change *change, struct nb_error *err)
{
	int r;

	if (change->state != NB_CHANGE_OPEN)
		return nb_error_set(err, NB_STATUS_FAILED, EINVAL, "write",
				    "the change was prepared already");
	r = nb_change_compose(change, err);
	if (r)
		return r;
	change->state = NB_CHANGE_DONE;
	if (!change->file_count) {
		change->state = NB_CHANGE_PREPARED;
		return 0;
	}
	r = open_directory(change, err);
	if (!r)
		r = write_all(change, err);
	if (!r && change->remove)
		r = step_all(change, set_aside, put_back, "set aside", err);
	if (r) {
		clean(change);
		unmake_directories(change);
		return r;
	}
	change->state = NB_CHANGE_PREPARED;
	return 0;
}

/* The end of a removal: from here on nothing reminds of it. */
static int forget_gone(struct nb_change *change, struct nb_error *err)
{
	for (size_t i = 0; i < change->file_count; i++) {
		struct nb_change_file *file = &change->files[i];
		struct dot_name gone = dot_name(file, "gone");

		if (!file->kept)
			continue;
		if (unlinkat(change->directory, gone.text, 0) && errno != ENOENT)
			return fail(change, errno, "finish the removal of", file, err);
		file->kept = false;
		change->begun = true;
	}
	return sync_directory(change, err);
}

bool nb_change_is_begun(const struct nb_change *change)
{
	return change && change->begun;
}

int nb_change_commit(struct nb_change *change, struct nb_error *err)
{
	if (change->state != NB_CHANGE_PREPARED)
		return nb_error_set(err, NB_STATUS_FAILED, EINVAL, "write",
				    "the change is not prepared");
	if (change->file_count) {
		int r;

		if (change->remove)
			r = forget_gone(change, err);
		else
			r = step_all(change, put_in_force, put_out_of_force, "write", err);
		if (r)
			return r;
		clean(change);
	}
	change->state = NB_CHANGE_DONE;
	return 0;
}

int nb_change_abandon(struct nb_change *change, struct nb_error *err)
{
	int r = 0;

	if (change->state != NB_CHANGE_PREPARED) {
		change->state = NB_CHANGE_DONE;
		return 0;
	}
	for (size_t i = 0; change->remove && i < change->file_count; i++) {
		int number = put_back(change, &change->files[i]);

		if (number && !r)
			r = fail(change, -number, "restore", &change->files[i], err);
	}
	clean(change);
	if (change->file_count && change->remove && !r)
		r = sync_directory(change, err);
	unmake_directories(change);
	change->state = NB_CHANGE_DONE;
	return r;
}

int nb_rules_tidy(const char *directory, bool gone, struct nb_error *err)
{
	const struct dirent *entry;
	struct stat st;
	int count = 0;
	int r;
	DIR *stream = opendir(directory);

	if (!stream && errno == ENOENT)
		return 0;
	if (!stream)
		return nb_file_error(err, NB_DIRECTORY_KIND, errno, "read", directory);
	/* in another's directory these names may be anything */
	if (fstat(dirfd(stream), &st))
		r = nb_file_error(err, NB_DIRECTORY_KIND, errno, "read", directory);
	else
		r = nb_file_trust(&st, NB_DIRECTORY_KIND, directory, err);
	while (!r && (entry = readdir(stream))) {
		const char *name = entry->d_name;

		if (name[0] != '.' || !(nb_has_suffix(name + 1, ".json.new") ||
					(gone && nb_has_suffix(name + 1, ".json.gone"))))
			continue;
		if (!unlinkat(dirfd(stream), name, 0))
			count++;
		else if (errno != ENOENT && errno != EISDIR)
			r = nb_file_error(err, NB_WRITE_KIND, errno, "tidy", directory);
	}
	if (!r && count && fsync(dirfd(stream)))
		r = nb_file_error(err, NB_WRITE_KIND, errno, "sync", directory);
	closedir(stream);
	return r ? r : count;
}
