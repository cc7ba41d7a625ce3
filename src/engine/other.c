/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Engines that are not root's at its usual socket: a user's rootless one, Docker Desktop, the snap.
 * Each is known by where it puts its socket, and by who listens there.
 */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../model/text.h"

#define SNAP_DATA "/var/snap/docker"

static bool is_in_namespace_of_ours(pid_t pid)
{
	struct stat theirs, ours;
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	/* what cannot be seen is not claimed */
	return stat(path, &theirs) < 0 || stat("/proc/self/ns/net", &ours) < 0 ||
	       (theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev);
}

static void read_program(pid_t pid, char *ret, size_t size)
{
	char path[48], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
	}
	text[strcspn(text, "\n")] = '\0';
	/* a process may give itself any */
	nb_copy_line(ret, size, text);
}

/* Who listens at the socket? Nothing is sent. */
static void look_at_socket(struct nb_engine_other *other)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct ucred owner;
	socklen_t length = sizeof(owner);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", other->socket);
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &length) == 0) {
		other->answers = true;
		other->pid = owner.pid;
		other->uid = owner.uid;
		other->apart = owner.pid && !is_in_namespace_of_ours(owner.pid);
		read_program(owner.pid, other->program, sizeof(other->program));
	} else if (errno == EAGAIN) {
		/* its queue is full */
		other->answers = true;
	}
	close(fd);
}

/* The first socket that the pattern matches, or better one at which somebody listens. */
static bool find_socket(enum nb_engine_kind kind, const char *pattern, struct nb_engine_other *ret)
{
	bool found = false;
	glob_t paths;

	if (glob(pattern, 0, NULL, &paths) == 0) {
		for (size_t i = 0; i < paths.gl_pathc && !ret->answers; i++) {
			struct nb_engine_other one = { .kind = kind };

			if (strlen(paths.gl_pathv[i]) >= sizeof(one.socket))
				continue;
			strcpy(one.socket, paths.gl_pathv[i]);
			look_at_socket(&one);
			if (!found || one.answers)
				*ret = one;
			found = true;
		}
	}
	globfree(&paths);
	return found;
}

/* The one that was named: by a variable, or in the configuration. */
static void judge_named(const char *socket, struct nb_engine_other *ret)
{
	struct nb_engine_other one = { 0 };

	if (strlen(socket) >= sizeof(one.socket))
		return;
	strcpy(one.socket, socket);
	look_at_socket(&one);
	if (strstr(socket, "/.docker/"))
		one.kind = NB_ENGINE_DESKTOP;
	else if (one.answers && one.uid != 0)
		one.kind = NB_ENGINE_ROOTLESS;
	if (one.kind)
		*ret = one;
}

static void find_docker(const char *home, struct nb_engine_other *ret)
{
	char path[256];
	struct stat st;

	if (find_socket(NB_ENGINE_SNAP, NB_SNAP_SOCKET, ret) ||
	    find_socket(NB_ENGINE_ROOTLESS, "/run/user/*/docker.sock", ret))
		return;
	snprintf(path, sizeof(path), "%.200s/.docker/desktop/docker.sock", home ? home : "");
	if ((home && find_socket(NB_ENGINE_DESKTOP, path, ret)) ||
	    find_socket(NB_ENGINE_DESKTOP, "/home/*/.docker/desktop/docker.sock", ret))
		return;
	if (stat(SNAP_DATA, &st) == 0)
		ret->kind = NB_ENGINE_SNAP;
}

void nb_engine_find_other(enum nb_engine engine, const struct nb_engine_places *places,
			  struct nb_engine_other *ret)
{
	bool docker = engine == NB_ENGINE_DOCKER;
	const char *named = docker ? nb_docker_socket(places) : nb_podman_socket(places);
	const char *usual = docker ? nb_docker_socket(NULL) : nb_podman_socket(NULL);

	*ret = (struct nb_engine_other){ 0 };
	if (strcmp(named, usual) != 0)
		judge_named(named, ret);
	else if (docker)
		find_docker(places ? places->home : NULL, ret);
	else
		find_socket(NB_ENGINE_ROOTLESS, "/run/user/*/podman/podman.sock", ret);
}
