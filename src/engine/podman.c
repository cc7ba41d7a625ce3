/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Podman, which has no daemon: its service is asked if it runs, else the
 * files are read from which it would answer. Netavark's are one JSON object a network.
 */
#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOCKET	 "/run/podman/podman.sock"
#define NETWORKS "/etc/containers/networks"
#define FILE_MAX (1 << 20)

/* Always there, with or without a file. */
#define DEFAULT_NETWORK "podman"
#define DEFAULT_BRIDGE	"podman0"

static int append(struct nb_engine_answer *answer, const cJSON *json)
{
	return nb_engine_append(answer, nb_engine_text(json, "name"),
				nb_engine_text(json, "network_interface"),
				nb_engine_instead(nb_engine_text(json, "driver")),
				nb_engine_is_true(json, "internal"));
}

/* A network's file. What cannot be read or understood is left out: Podman does the same. */
static int read_file(int directory, const char *name, struct nb_engine_answer *ret)
{
	int fd = openat(directory, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char *text = NULL;
	struct stat st;
	cJSON *json;
	ssize_t length;
	int r = 0;

	if (fd < 0)
		return 0;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < FILE_MAX) {
		text = malloc((size_t)st.st_size + 1);
		length = text ? read(fd, text, (size_t)st.st_size) : 0;
		json = text && length > 0 ? nb_engine_parse(text, (size_t)length) : NULL;
		if (!text)
			r = -ENOMEM;
		else if (json)
			r = append(ret, json);
		cJSON_Delete(json);
		free(text);
	}
	close(fd);
	return r;
}

static bool has_suffix(const char *name, const char *suffix)
{
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && strcmp(name + length - tail, suffix) == 0;
}

static int read_files(const char *path, struct nb_engine_answer *ret)
{
	DIR *stream = opendir(path);
	const struct dirent *entry;
	int r = 0;

	if (!stream)
		return errno == ENOMEM ? -ENOMEM : -errno;
	while (r == 0 && (entry = readdir(stream)))
		if (has_suffix(entry->d_name, ".json"))
			r = read_file(dirfd(stream), entry->d_name, ret);
	closedir(stream);
	if (r == 0 && !nb_engine_find(ret, DEFAULT_NETWORK))
		r = nb_engine_append(ret, DEFAULT_NETWORK, DEFAULT_BRIDGE, NULL, false);
	return r;
}

const char *nb_podman_socket(const struct nb_engine_places *places)
{
	return places && places->podman ? places->podman : SOCKET;
}

int nb_podman_ask(const struct nb_engine_places *places, struct nb_engine_answer *ret)
{
	const char *socket = nb_podman_socket(places);
	const char *path = places && places->podman_networks ? places->podman_networks : NETWORKS;
	int r = nb_engine_get_list(NB_ENGINE_PODMAN, places, "/v4.0.0/libpod/networks/json", append,
				   ret);
	int files;

	if (r == 0 || r == -ENOMEM || r == -EPERM)
		return r;
	files = read_files(path, ret);
	/* it is here, and nobody has made a network */
	if (files == -ENOENT && r == -EHOSTDOWN)
		files = nb_engine_append(ret, DEFAULT_NETWORK, DEFAULT_BRIDGE, NULL, false);
	if (files == 0)
		ret->why[0] = '\0';
	else if (files == -EACCES)
		snprintf(ret->why, sizeof(ret->why),
			 "Podman's networks in %s are for root to read: sudo nat-bridge", path);
	else if (files != -ENOMEM && (r == -ENOENT || r == -ECONNREFUSED))
		snprintf(ret->why, sizeof(ret->why),
			 "Podman's service does not answer at %s, and there are no networks of "
			 "root's in %s",
			 socket, path);
	return files == 0 || files == -ENOMEM ? files : r;
}
