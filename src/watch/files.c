/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of files that the watcher depends on. */
#include "files.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define ENTRIES (IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE | IN_CREATE | IN_ATTRIB)
#define ITSELF	(IN_DELETE_SELF | IN_MOVE_SELF)

int nb_files_open(struct nb_files *files)
{
	memset(files, 0, sizeof(*files));
	files->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return files->fd < 0 ? -errno : 0;
}

void nb_files_close(struct nb_files *files)
{
	if (files->fd >= 0)
		close(files->fd);
}

/* The directory, or the nearest one above it that is there: it may be made in that. */
static void look_at(const struct nb_files *files, struct nb_watched *watched)
{
	char path[PATH_MAX];
	char *slash;

	watched->above = false;
	if (snprintf(path, sizeof(path), "%s", watched->directory) >= (int)sizeof(path))
		return;
	while ((watched->descriptor = inotify_add_watch(
			files->fd, path, ENTRIES | ITSELF | IN_ONLYDIR | IN_MASK_ADD)) < 0) {
		watched->above = true;
		slash = strrchr(path, '/');
		if (!slash || strcmp(path, "/") == 0)
			return;
		slash[slash == path] = '\0';
	}
}

void nb_files_add(struct nb_files *files, const char *directory, const char *suffix,
		  const char *name)
{
	struct nb_watched *watched = &files->items[files->count];

	if (files->count == NB_FILES_MAX)
		return;
	files->count++;
	*watched = (struct nb_watched){ .directory = directory, .suffix = suffix, .name = name };
	look_at(files, watched);
}

static bool ends_in(const char *name, const char *suffix)
{
	size_t length = strlen(name), end = strlen(suffix);

	return length >= end && strcmp(name + length - end, suffix) == 0;
}

static bool matters(struct nb_files *files, const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";
	bool result = event->mask & IN_Q_OVERFLOW;

	for (unsigned int i = 0; i < files->count; i++) {
		struct nb_watched *watched = &files->items[i];
		bool itself = event->mask & (ITSELF | IN_IGNORED);

		if (event->wd != watched->descriptor)
			continue;
		/* the directory came, or went; what is in it then has no event of its own */
		if (watched->above || itself) {
			look_at(files, watched);
			result |= itself || !watched->above;
			continue;
		}
		/* what nat-bridge stages there is its own affair; an unfinished removal is not */
		if (name[0] == '.' && !ends_in(name, ".gone"))
			continue;
		if (watched->name ? strcmp(name, watched->name) == 0
				  : name[0] == '.' || ends_in(name, watched->suffix))
			result = true;
	}
	return result;
}

bool nb_files_read(struct nb_files *files)
{
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool result = false;
	ssize_t length;

	while ((length = read(files->fd, buffer, sizeof(buffer))) > 0) {
		for (char *at = buffer; at < buffer + length;) {
			const struct inotify_event *event = (const struct inotify_event *)at;

			result |= matters(files, event);
			at += sizeof(*event) + event->len;
		}
	}
	return result;
}
