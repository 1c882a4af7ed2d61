#include "event_parser.h"
