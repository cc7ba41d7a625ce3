/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doctor's object of JSON, for the screen and for the report. */
#ifndef NAT_BRIDGE_DOCTOR_JSON_H
#define NAT_BRIDGE_DOCTOR_JSON_H

#include <cjson/cJSON.h>

#include "doctor.h"

cJSON *nb_doctor_to_json(const struct nb_run *run, const struct nb_examination *examination);

#endif
