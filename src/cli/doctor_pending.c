/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Why the network of a mapping has no bridge here: its engine does not answer, is one whose bridges
 * are elsewhere, or has no such network.
 */
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>

#include "doctor.h"

/* "alice (uid 1000)" */
static void word_user(uid_t uid, char *buffer, size_t size)
{
	const struct passwd *entry = getpwuid(uid);

	if (entry)
		snprintf(buffer, size, "%.40s (uid %u)", entry->pw_name, uid);
	else
		snprintf(buffer, size, "uid %u", uid);
}

static void word_evidence(const struct nb_engine_other *other, char *buffer, size_t size)
{
	char user[64];

	word_user(other->uid, user, sizeof(user));
	if (!other->socket[0])
		snprintf(buffer, size, "/var/snap/docker is there, and no socket of Docker's");
	else if (!other->answers)
		snprintf(buffer, size, "%s is there, and nobody listens at it", other->socket);
	else if (!other->pid)
		snprintf(buffer, size, "%s is listened at", other->socket);
	else
		snprintf(buffer, size, "%s listens at %s (pid %d, %s)%s",
			 other->program[0] ? other->program : "a process", other->socket,
			 (int)other->pid, user,
			 other->apart ? "; its network namespace is not the host's" : "");
}

static void word_rootless(enum nb_engine engine, struct nb_cause *cause)
{
	snprintf(cause->what, sizeof(cause->what),
		 "%s is a rootless %s's: that engine belongs to a user, and its bridges are in a "
		 "network namespace of its own",
		 cause->network, nb_engine_title(engine));
	if (engine == NB_ENGINE_PODMAN)
		snprintf(cause->mend, sizeof(cause->mend),
			 "no mapping: podman run --network slirp4netns:allow_host_loopback=true, "
			 "and dial 10.0.2.2; or run these containers with root's Podman");
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "no mapping: set DOCKERD_ROOTLESS_ROOTLESSKIT_DISABLE_HOST_LOOPBACK=false "
			 "for the user's docker.service (Docker 26), and dial 10.0.2.2; or run "
			 "these containers with root's Docker");
}

static void word_desktop(const struct nb_case *one, struct nb_cause *cause)
{
	snprintf(cause->what, sizeof(cause->what),
		 "%s is Docker Desktop's, whose containers are in a virtual machine: there is no "
		 "bridge of theirs on this host",
		 cause->network);
	snprintf(cause->mend, sizeof(cause->mend),
		 "nothing needs a mapping: dial host.docker.internal:%u in the container, which "
		 "Docker Desktop leads to this host's 127.0.0.1; then: nat-bridge remove %s %u/%s",
		 one->mapping->target.port, cause->network, one->mapping->port,
		 nb_protocol_name(one->mapping->protocol));
}

static void word_snap(const struct nb_run *run, const struct nb_engine_other *other,
		      struct nb_cause *cause)
{
	snprintf(cause->what, sizeof(cause->what), "%s is the network of a Docker that is a snap%s",
		 cause->network,
		 other->answers ? ", which is not asked: its socket is elsewhere"
				: ", which does not run");
	if (!other->answers)
		snprintf(cause->mend, sizeof(cause->mend),
			 "snap start docker; if its socket is " NB_SNAP_SOCKET
			 " then, write \"docker\": \"unix://" NB_SNAP_SOCKET "\" into %.300s",
			 run->options.config);
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "write \"docker\": \"unix://%s\" into %.300s, then: nat-bridge apply",
			 other->socket, run->options.config);
}

/*
 * Root's Podman has networks whether or not it runs, so that it answers says nothing; the network's
 * own file in the user's home does.
 */
static bool is_of_user(const struct nb_engine_other *other, const char *network)
{
	const struct passwd *entry = getpwuid(other->uid);
	char path[512];
	struct stat st;

	snprintf(path, sizeof(path), "%.200s/.local/share/containers/storage/networks/%s.json",
		 entry ? entry->pw_dir : "", network);
	return entry && other->answers && stat(path, &st) == 0;
}

/* An engine is there, and not the one that was asked. False: there is no trace of such a one. */
static bool blame_other(struct nb_run *run, struct nb_examination *examination,
			const struct nb_case *one, enum nb_engine engine)
{
	static const char *const codes[] = {
		[NB_ENGINE_ROOTLESS] = "engine-rootless",
		[NB_ENGINE_DESKTOP] = "engine-desktop",
		[NB_ENGINE_SNAP] = "engine-snap",
	};
	const struct nb_engine_answer *answer = &run->engines[engine];
	struct nb_engine_other other;
	struct nb_cause *cause;

	/* one of root's that is stopped, or hangs, is the one that is meant */
	if (!answer->known && !answer->absent && !answer->elsewhere)
		return false;
	nb_ask_other(run, engine, &other);
	if (other.kind == NB_ENGINE_OWN ||
	    (answer->known && !is_of_user(&other, one->mapping->network.name)))
		return false;
	cause = nb_doctor_blame(examination, one, codes[other.kind]);
	if (!cause)
		return true;
	word_evidence(&other, cause->evidence, sizeof(cause->evidence));
	if (other.kind == NB_ENGINE_ROOTLESS)
		word_rootless(engine, cause);
	else if (other.kind == NB_ENGINE_DESKTOP)
		word_desktop(one, cause);
	else
		word_snap(run, &other, cause);
	return true;
}

/* A container is looked for in both: what root's Docker has is not another's. */
static bool blame_others(struct nb_run *run, struct nb_examination *examination,
			 const struct nb_case *one)
{
	enum nb_engine engine = one->mapping->network.engine;

	if (engine == NB_ENGINE_IFACE)
		return false;
	if (engine != NB_ENGINE_CONTAINER)
		return (engine == NB_ENGINE_PODMAN || !run->engines[engine].known) &&
		       blame_other(run, examination, one, engine);
	return !run->engines[NB_ENGINE_DOCKER].known &&
	       blame_other(run, examination, one, NB_ENGINE_DOCKER);
}

/* Does an engine not answer that may have it? A container may be either one's. */
static bool is_silent(const struct nb_run *run, enum nb_engine engine)
{
	const struct nb_engine_answer *podman = &run->engines[NB_ENGINE_PODMAN];

	if (engine == NB_ENGINE_IFACE)
		return false;
	if (engine != NB_ENGINE_CONTAINER)
		return !run->engines[engine].known;
	return !run->engines[NB_ENGINE_DOCKER].known || (!podman->known && !podman->absent);
}

static void word_mend(const struct nb_case *one, const struct nb_resolution *resolution,
		      struct nb_cause *cause)
{
	enum nb_engine engine = one->mapping->network.engine;
	char target[NB_TARGET_SIZE] = "127.0.0.1";

	if (one->mapping->target.port)
		nb_target_format(&one->mapping->target, target);
	if (strstr(resolution->why, "the host's own network"))
		snprintf(cause->mend, sizeof(cause->mend),
			 "nothing needs a mapping: dial %s in the container", target);
	else if (engine == NB_ENGINE_CONTAINER && resolution->hopeless)
		snprintf(cause->mend, sizeof(cause->mend),
			 "give the container a network that has a bridge, and map that one");
	else if (engine == NB_ENGINE_CONTAINER)
		snprintf(cause->mend, sizeof(cause->mend),
			 "start the container, or name the one that is meant (docker ps), or its "
			 "network");
	else if (engine == NB_ENGINE_DOCKER || engine == NB_ENGINE_PODMAN)
		snprintf(cause->mend, sizeof(cause->mend),
			 "make the network (compose up, network create), or map the one that "
			 "is meant; then: nat-bridge apply");
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "make the device, or map the network that is meant; then: nat-bridge "
			 "apply");
}

int nb_doctor_blame_pending(struct nb_run *run, struct nb_examination *examination,
			    struct nb_resolver *resolver, const struct nb_case *one)
{
	const struct nb_resolution *resolution = nb_resolve(resolver, one->mapping);
	enum nb_engine engine = one->mapping->network.engine;
	char network[NB_NETWORK_SIZE];
	struct nb_cause *cause;
	bool silent;

	if (!resolution)
		return nb_out_of_memory(run);
	/* it has one: what is still in the kernel is for the one it had, which is a difference */
	if (resolution->present)
		return 0;
	/* a network that the engine has, and which is no bridge, is no other engine's */
	if (!resolution->hopeless && blame_others(run, examination, one))
		return 0;
	silent = is_silent(run, engine) && !resolution->hopeless;
	cause = nb_doctor_blame(examination, one, silent ? "engine" : "bridge-absent");
	if (!cause)
		return nb_out_of_memory(run);
	nb_network_format(&one->mapping->network, network);
	snprintf(cause->what, sizeof(cause->what), "%s has no bridge on this host: %s", network,
		 resolution->why);
	snprintf(cause->evidence, sizeof(cause->evidence), "%s%s",
		 engine == NB_ENGINE_IFACE ? "ip link show " : "the engine was asked",
		 engine == NB_ENGINE_IFACE ? one->mapping->network.name : "");
	if (silent)
		snprintf(cause->mend, sizeof(cause->mend),
			 "start the engine (systemctl start %s), then: nat-bridge apply",
			 engine == NB_ENGINE_PODMAN ? "podman.socket" : "docker");
	else
		word_mend(one, resolution, cause);
	return 0;
}
