/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The parts of `nat-bridge doctor`. */
#ifndef NAT_BRIDGE_DOCTOR_H
#define NAT_BRIDGE_DOCTOR_H

#include "nat-bridge/diagnose.h"
#include "view.h"

/* One examination. Zero-initialise; nb_examination_clear() also after a failure. */
struct nb_examination {
	struct nb_view view;
	struct nb_findings drift;
	struct nb_diagnosis diagnosis;
	/* what was asked for */
	bool about_network; /* a NETWORK was named */
	struct nb_network network;
	struct nb_port_spec *specs; /* of the PORT; NULL: every one */
	size_t spec_count;
};

/* A cause about a mapping that is looked at. NULL: there is no memory, which nb_diagnose() reports. */
struct nb_cause *nb_doctor_blame(struct nb_examination *examination, const struct nb_case *one,
				 const char *code);
/* Say why the network of case @one has no bridge. Fills run->error. */
int nb_doctor_blame_pending(struct nb_run *run, struct nb_examination *examination,
			    struct nb_resolver *resolver, const struct nb_case *one);
/* What the rule files, the engines and the words of the command line say. Fills run->error. */
int nb_doctor_choose(struct nb_run *run, struct nb_examination *examination);
int nb_doctor_blame_rules(struct nb_run *run, struct nb_examination *examination);
/* Whose network a bridge is, and a container that is on it. */
int nb_doctor_find_containers(struct nb_run *run, struct nb_examination *examination);

/* Problems that are not mended. */
size_t nb_doctor_problems(const struct nb_examination *examination);
/* Can it be said whether the host is healthy? Not by whom the ruleset does not show itself to. */
bool nb_doctor_is_known(const struct nb_examination *examination);
/* @written is not OK: the report could not be written, run->error says why. */
int nb_print_doctor(struct nb_run *run, const struct nb_examination *examination,
		    enum nb_status written);
/*
 * Write a file for a bug report, with names, addresses that others can reach and secrets replaced.
 * A file that exists is left alone. Fills run->error on failure.
 */
int nb_doctor_report(struct nb_run *run, const struct nb_examination *examination,
		     const char *path);

#endif
